"""Batches made by hand, and the smallest destination that keeps the promise of the interface."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.handoff import Batch, Bookmark
from pipeline.schema import TABLES
from pipeline.transform import history as history_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DAY = 86_400
#: 2026-01-10T00:00:00Z
TENTH = 1_768_003_200
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FETCHED = EPOCH + dt.timedelta(seconds=TENTH + 30 * DAY)


@dataclass(frozen=True)
class Version:
    """One version of a completion; ``more`` sets further columns of its row."""

    id: str
    created: int | None = TENTH
    text: str | None = "hello"
    choices: int = 1
    calls: int = 0
    rejects: int = 0
    messages: int = 0
    """Input messages that come with it, inline."""
    more: Mapping[str, Any] = field(default_factory=dict)


class Source:
    """Cuts versions into numbered segments and knows, as the archive does, what they replace."""

    def __init__(self, name: str = "prod") -> None:
        self.name = name
        self.segment = 0
        self._held: dict[str, int | None] = {}

    def batch(
        self,
        *versions: Version,
        fetched: Mapping[str, int] | None = None,
        gone: Sequence[str] = (),
        days: Mapping[int, int] | None = None,
    ) -> Batch:
        """Make the next segment's batch; ``fetched`` says of how many messages (one rejected), ``gone`` what went.

        ``days`` says of which days, from the tenth, how many results the organization's usage has; costs has one more.
        """
        self.segment += 1
        held = dict(self._held)
        replaced = {version.id: self._held[version.id] for version in versions if version.id in self._held}
        self._held |= {version.id: version.created for version in versions}
        rows = _rows(self.name, self.segment, versions)
        for id_, count in (fetched or {}).items():
            child = _child(self.name, self.segment, id_, self._held[id_])
            rows["messages"] += [child | {"index": n, "role": "user", "content": str(count)} for n in range(count)]
            rows["rejects"].append(child | {"path": "messages[0].name", "reason": "no"})
        for day, count in (days or {}).items():
            rows["organization_usage"] += _day_rows(self.name, self.segment, day, count)
            rows["organization_costs"] += _day_rows(self.name, self.segment, day, count + 1)
        inline = {version.id for version in versions if version.messages}
        return Batch(
            Bookmark(self.name, self.segment),
            {name: pa.Table.from_pylist(rows[name], schema=table.columns) for name, table in TABLES.items()},
            replaced,
            frozenset({*(fetched or {}), *inline}),
            self._updates({id_: held[id_] for id_ in (*replaced, *gone)}, gone),
            sum(version.rejects > 0 for version in versions),
        )

    def holds(self, id_: str) -> bool:
        """Say whether a segment brought a completion."""
        return id_ in self._held

    def _updates(self, closed: Mapping[str, int | None], gone: Sequence[str]) -> dict[str, pa.Table]:
        """Say what the segment closes of rows held before."""
        now = FETCHED + dt.timedelta(hours=self.segment)
        where = {id_: {"id": id_, "created_date": _day(created)} for id_, created in closed.items()}
        history = [row | {"valid_to": now} for row in where.values()]
        told = {"gone_at": now, "gone_reason": "deleted", "gone_last_seen": None, "gone_first_missed": now}
        went = [where[id_] | told for id_ in gone]
        schemas = {"completions": history_of._GONE, "metadata_history": history_of._CLOSED}
        rows = {"completions": went, "metadata_history": history}
        return {name: pa.Table.from_pylist(rows[name], schema=schemas[name]) for name in rows if rows[name]}


class Memory:
    """A destination of lists and dicts: the model that the real ones are compared with."""

    name = "memory"

    def __init__(self) -> None:
        self._bookmarks: dict[str, int] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def bookmarks(self) -> Mapping[str, int]:
        return dict(self._bookmarks)

    def load(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            source, segment = batch.bookmark.source, batch.bookmark.segment
            if segment > self._bookmarks.get(source, 0):
                self._close(source, batch)
                self._take(source, batch)
                self._bookmarks[source] = segment

    def _close(self, source: str, batch: Batch) -> None:
        for name, updates in batch.updates.items():
            key, first = ("id", "gone_at") if name == "completions" else ("completion_id", "valid_to")
            for update in updates.to_pylist():
                values = {column: value for column, value in update.items() if column not in {"id", "created_date"}}
                for row in self._rows[name]:
                    if row["source"] == source and row[key] == update["id"] and row[first] is None:
                        row.update(values)

    def _take(self, source: str, batch: Batch) -> None:
        rows = {name: table.to_pylist(maps_as_pydicts="strict") for name, table in batch.tables.items()}
        versions = set(batch.replaced) | {row["id"] for row in rows["completions"]}
        gone = {"completion": versions, "messages": set(batch.fetched), "segment": {batch.bookmark.segment}}
        for name, held in self._rows.items():
            gone["day"] = {row.get("created") for row in rows[name]}
            identity, values = TABLES[name].identity, gone[TABLES[name].replaced_by]
            held[:] = [row for row in held if row["source"] != source or row[identity] not in values] + rows[name]

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        return {name: in_order(rows) for name, rows in self._rows.items()}

    def close(self) -> None:
        """Hold nothing."""


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort rows by all they hold: tables promise no order."""
    return sorted((dict(sorted(row.items())) for row in rows), key=repr)


def example(**changes: Any) -> Version:
    """Make a version with every kind of child."""
    return replace(Version("chatcmpl-1", choices=2, calls=2, rejects=1), **changes)


def _rows(source: str, segment: int, versions: Iterable[Version]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for version in versions:
        child = _child(source, segment, version.id, version.created)
        shared = {name: value for name, value in child.items() if name != "completion_id"}
        rows["messages"] += [child | {"index": n, "role": "user"} for n in range(version.messages)]
        since = FETCHED + dt.timedelta(hours=segment)
        rows["metadata_history"].append(child | {"valid_from": since, "content_hash": version.text or ""})
        rows["completions"].append(shared | _completion(version))
        rows["choices"] += [child | {"index": n, "content": version.text} for n in range(version.choices)]
        rows["tool_calls"] += [child | {"choice_index": 0, "index": n, "id": "call"} for n in range(version.calls)]
        rows["rejects"] += [child | {"path": f"tools[{n}]", "reason": "no"} for n in range(version.rejects)]
    log = {"source": source, "segment": segment, "created_date": FETCHED.date()}
    rows["coverage"].append(log | {"end_unix": TENTH, "asked_at": FETCHED, "possibly_incomplete": [1, segment]})
    rows["runs"].append(log | _run(segment))
    return rows


def _day_rows(source: str, segment: int, day: int, count: int) -> list[dict[str, Any]]:
    """Make the rows of one day; one without results has one row."""
    when = EPOCH + dt.timedelta(seconds=TENTH + day * DAY)
    shared = {"source": source, "segment": segment, "created": when, "created_date": when.date(), "fetched_at": FETCHED}
    return [shared | {"index": n} for n in range(count)] or [shared]


def _child(source: str, segment: int, id_: str, created: int | None) -> dict[str, Any]:
    when = None if created is None else EPOCH + dt.timedelta(seconds=created)
    shared = {"source": source, "segment": segment, "created": when, "created_date": (when or EPOCH).date()}
    return shared | {"completion_id": id_}


def _day(created: int | None) -> dt.date:
    return (EPOCH + dt.timedelta(seconds=created or 0)).date()


def _completion(version: Version) -> dict[str, Any]:
    told = {"id": version.id, "created_unix": version.created, "model": "gpt-4o", "total_tokens": 3}
    seen = {"first_seen": FETCHED, "fetched_at": FETCHED, "content_hash": "00", "origin": "api"}
    return {**told, **seen, **version.more}


def _run(segment: int) -> dict[str, Any]:
    counts = dict.fromkeys(("new", "changed", "skipped", "pages", "retries", "bytes"), 1)
    told = {"run_id": f"run-{segment}", "started_at": FETCHED, "ended_at": FETCHED, "data_through": FETCHED}
    return counts | told | {"complete": True, "findings": "[]", "version": "0.1.0"}
