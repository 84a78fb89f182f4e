"""What happened to completions in a segment: their versions, and those that went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from pipeline.schema import TIMESTAMP
from pipeline.transform.columns import dates, table, timestamps

if TYPE_CHECKING:
    from pipeline.transform.tables import Parents
    from pipeline.transform.versions import Versions

_ID = pa.field("id", pa.string())
_DATE = pa.field("created_date", pa.date32())


class _Mark(msgspec.Struct):
    """The body of a row of kind gone; microseconds since 1970."""

    gone_at: int
    reason: str
    last_seen: int | None = None
    first_missed: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The completions that a segment says are gone."""

    ids: list[str]
    created_date: pa.Array
    marks: list[_Mark]

    @classmethod
    def of(cls, received: pa.Table) -> Gone:
        """Read the rows of kind gone."""
        marks = [msgspec.json.decode(body, type=_Mark) for body in received["body"].to_pylist()]
        return cls(received["id"].to_pylist(), dates(timestamps(received["created"].combine_chunks())), marks)

    def columns(self, ids: list[str]) -> dict[str, list[Any]]:
        """Return the columns of completions that say so, for completions in this order."""
        found = dict(zip(self.ids, self.marks, strict=True))
        marks = [found.get(id_) for id_ in ids] if found else [None] * len(ids)
        return {
            "gone_at": [mark and mark.gone_at for mark in marks],
            "gone_reason": [mark and mark.reason for mark in marks],
            "gone_last_seen": [mark and mark.last_seen for mark in marks],
            "gone_first_missed": [mark and mark.first_missed for mark in marks],
        }


def rows(parents: Parents, versions: Versions, gone: Gone) -> pa.Table:
    """Make one row per version, each valid until the next one of this segment, or until its completion went."""
    fetched = versions.received["fetched_at"].combine_chunks()
    return table(
        "metadata_history",
        {
            **parents.children(None),
            "valid_from": fetched,
            "valid_to": _valid_to(parents.id.to_pylist(), fetched, gone),
            "metadata": versions.metadata,
            "content_hash": versions.content_hash,
        },
    )


def _valid_to(ids: list[str], fetched: pa.Array, gone: Gone) -> pa.Array:
    valid_to: list[Any] = [None] * len(ids)
    last: dict[str, int] = {}
    for row, id_ in enumerate(ids):
        if id_ in last:
            valid_to[last[id_]] = fetched[row].as_py()
        last[id_] = row
    for id_, mark in zip(gone.ids, gone.marks, strict=True):
        if id_ in last:
            valid_to[last[id_]] = mark.gone_at
    return pa.array(valid_to, TIMESTAMP)


def updates(received: pa.Table, gone: Gone) -> dict[str, pa.Table]:
    """Say what closes rows that were held before this segment."""
    here = set(received["id"].to_pylist()) if gone.ids else set()
    went = [place for place, id_ in enumerate(gone.ids) if id_ not in here]
    ids = [gone.ids[place] for place in went]
    days = gone.created_date.take(pa.array(went, pa.int64()))
    completions = pa.table([pa.array(ids, pa.string()), days, *_gone_columns(gone.columns(ids))], schema=_GONE)
    replaced = _first_of_each(received.filter(received["is_version"]))
    closed = pa.concat_tables(
        [
            pa.table(
                [
                    replaced["id"].combine_chunks(),
                    dates(timestamps(replaced["previous_created"].combine_chunks())),
                    replaced["fetched_at"].combine_chunks(),
                ],
                schema=_CLOSED,
            ),
            pa.table([completions["id"], completions["created_date"], completions["gone_at"]], schema=_CLOSED),
        ]
    )
    return {name: rows for name, rows in (("completions", completions), ("metadata_history", closed)) if rows.num_rows}


_GONE = pa.schema(
    [
        _ID,
        _DATE,
        pa.field("gone_at", TIMESTAMP),
        pa.field("gone_reason", pa.string()),
        pa.field("gone_last_seen", TIMESTAMP),
        pa.field("gone_first_missed", TIMESTAMP),
    ]
)
_CLOSED = pa.schema([_ID, _DATE, pa.field("valid_to", TIMESTAMP)])


def _gone_columns(columns: dict[str, list[Any]]) -> list[pa.Array]:
    return [pa.array(columns[field.name], field.type) for field in list(_GONE)[2:]]


def _first_of_each(received: pa.Table) -> pa.Table:
    """Keep the first version of each id: it is the one that replaced what was held."""
    first: dict[str, int] = {}
    for row, id_ in enumerate(received["id"].to_pylist()):
        first.setdefault(id_, row)
    return received if len(first) == len(received) else received.take(pa.array(sorted(first.values()), pa.int64()))
