"""What a load changes, worked out before anything is touched; every destination acts on it."""

from __future__ import annotations

import bisect
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.load.update import updated
from pipeline.schema import TABLES, TIMESTAMP, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.handoff import Batch, Bookmark

#: Columns that a walk gives in order by itself: created_date and created.
_LEADING = 2
#: Stretches that are sorted by themselves: more than seconds cut by the segments of one act.
_STRETCHES = 64
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: No second, of a completion that is not among those that come.
_NOWHERE = object()


@dataclass(frozen=True, slots=True)
class Change:
    """The rows that come, and which older ones go."""

    bookmark: Bookmark
    """Becomes true with the rows."""
    rows: Mapping[str, pa.Table]
    """By table: of each completion the latest version only, sorted by created_date and then by ``order``."""
    replaces: Mapping[str, pa.Array]
    """By table: values of its identity column; the source's older rows that have one of them go."""
    updates: Mapping[str, pa.Table]
    """By table: ``id``, ``created_date`` and what to set in older rows where the first of these columns is NULL."""
    segments: pa.Array
    """The segments loaded: what a killed load left of them goes first."""
    dates: frozenset[dt.date]
    """Every created_date at which rows come or go."""
    left: frozenset[dt.date]
    """Those of them at which a completion had another ``created`` than it has now: it may move to another file."""


def order(table: Table) -> list[str]:
    """Name the columns that rows of one date are sorted by; NULL comes last."""
    own = "completion_id" if "completion_id" in table.columns.names else table.identity
    columns = ("created", own, "choice_index", "part", "index", "path", "valid_from", "segment")
    return [name for name in columns if name in table.columns.names]


def arrange(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Sort rows, NULL last; the very same table, uncopied, where they are sorted already, as a walk gives them."""
    stretches = _unsorted(rows, columns)
    if stretches is None:
        return _sorted(rows, columns)
    parts, done = [], 0
    for start, end in stretches:
        parts += [rows.slice(done, start - done), _sorted(rows.slice(start, end - start), columns)]
        done = end
    return pa.concat_tables([*parts, rows.slice(done)]) if parts else rows


def _sorted(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in columns]))


def _unsorted(rows: pa.Table, columns: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the stretches of rows, alike in the first two columns, that need sorting: seconds that a segment cuts.

    None where that does not help: more than a few, or a NULL among what is compared.
    """
    found: set[tuple[int, int]] = set()
    tied: pa.Array | None = None  # positions whose row and the next one are alike so far
    for depth, name in enumerate(columns):
        column = rows[name].combine_chunks()
        before, after = column.slice(0, max(0, len(column) - 1)), column.slice(1)
        if tied is not None:
            before, after = before.take(tied), after.take(tied)
        wrong = pc.indices_nonzero(pc.greater(before, after))
        if before.null_count or after.null_count or (len(wrong) and depth < _LEADING) or len(wrong) > _STRETCHES:
            return None
        if tied is not None:
            found.update(_alike(rows, columns, tied[at].as_py()) for at in wrong.to_pylist())
        alike = pc.indices_nonzero(pc.equal(before, after))
        tied = alike if tied is None else tied.take(alike)
    return sorted(found) if len(found) <= _STRETCHES else None


def _alike(rows: pa.Table, columns: Sequence[str], at: int) -> tuple[int, int]:
    """Return where the rows begin and end that are as the one at ``at`` in the first columns."""
    leading = [rows[name] for name in columns[:_LEADING]]
    place = tuple(column[at].as_py() for column in leading)

    def key(row: int) -> tuple[object, ...]:
        return tuple(column[row].as_py() for column in leading)

    everywhere = range(rows.num_rows)
    return bisect.bisect_left(everywhere, place, key=key), bisect.bisect_right(everywhere, place, key=key)


def without(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    """Leave out the rows that have one of ``values``; the very same table, uncopied, where none has."""
    found = pc.is_in(rows[column], value_set=values)
    return rows.filter(pc.invert(found)) if pc.any(found).as_py() else rows


def work_out(batches: Sequence[Batch], held: int) -> Change | None:
    """Say what loading the batches beyond segment ``held`` changes; None is nothing."""
    batches = [batch for batch in batches if batch.bookmark.segment > held]
    if not batches:
        return None
    latest, updates = updated(_latest(batches), batches)
    old = [replaced for batch in batches for replaced in batch.replaced.items()]
    new = _created_by_id(latest["completions"], pa.array([id_ for id_, _ in old], pa.string()))
    dates = {date for rows in (*latest.values(), *updates.values()) for date in _dates(rows)}
    return Change(
        bookmark=batches[-1].bookmark,
        rows={name: arrange(rows, ["created_date", *order(TABLES[name])]) for name, rows in latest.items()},
        replaces=_replaces(batches),
        updates=updates,
        segments=_segments(batches),
        dates=frozenset(dates.union(date_of(created) for _, created in old)),
        left=frozenset(date_of(created) for id_, created in old if new.get(id_, _NOWHERE) != created),
    )


def _dates(rows: pa.Table) -> list[dt.date]:
    return rows["created_date"].unique().to_pylist()  # type: ignore[no-any-return]


def date_of(created: int | None) -> dt.date:
    """Return created_date of a completion: its UTC date, 1970-01-01 where created is no usable second."""
    try:
        return (_EPOCH + dt.timedelta(seconds=created or 0)).date()
    except OverflowError:
        return _EPOCH.date()


def _latest(batches: Sequence[Batch]) -> dict[str, pa.Table]:
    """Put tables together, without what a later batch replaces."""
    kept: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    told = [_told(batch) for batch in batches]
    last: dict[str, dict[object, int]] = {}
    for position, values in enumerate(told):
        for kind, some in values.items():
            last.setdefault(kind, {}).update(dict.fromkeys(some, position))
    for position, (batch, values) in enumerate(zip(batches, told, strict=True)):
        rejected = batch.tables["rejects"]["completion_id"].to_pylist()
        here = {**values, "completion": values["completion"].union(rejected)}
        gone = {kind: [one for one in some if last[kind].get(one, 0) > position] for kind, some in here.items()}
        for name, rows in batch.tables.items():
            left = gone.get(_kind(name))
            identity = TABLES[name].identity
            kept[name].append(without(rows, identity, pa.array(left, rows[identity].type)) if left else rows)
    return {name: pa.concat_tables([TABLES[name].columns.empty_table(), *parts]) for name, parts in kept.items()}


def _told(batch: Batch) -> dict[str, set[object]]:
    """Say by kind of what a batch has all rows anew; a segment comes once, so nothing of it is replaced."""
    days = (name for name, table in TABLES.items() if table.replaced_by == "day")
    return {
        "completion": set(_completions(batch).to_pylist()),
        "messages": set(batch.fetched),
        **{name: set(batch.tables[name]["created"].to_pylist()) for name in days},
    }


def _kind(name: str) -> str:
    """Name what rows of a table are replaced by; days are those of one table."""
    kind = TABLES[name].replaced_by
    return name if kind == "day" else kind


def _replaces(batches: Sequence[Batch]) -> dict[str, pa.Array]:
    """Name by table whose older rows the batches replace."""
    ids = [_completions(batch) for batch in batches]
    none = pa.array([], pa.string())
    values = {
        "completion": pa.concat_arrays([none, *ids]).unique(),
        "messages": pa.array(sorted({id_ for batch in batches for id_ in batch.fetched}), pa.string()),
        "segment": _segments(batches),
    }
    return {
        name: _days(batches, name) if table.replaced_by == "day" else values[table.replaced_by]
        for name, table in TABLES.items()
    }


def _days(batches: Sequence[Batch], name: str) -> pa.Array:
    """Name every day that the batches have fetched of a table; one on which there was nothing has a row as well."""
    fetched = [batch.tables[name]["created"].combine_chunks() for batch in batches]
    return pa.concat_arrays([pa.array([], TIMESTAMP), *fetched]).unique()


def _segments(batches: Sequence[Batch]) -> pa.Array:
    return pa.array([batch.bookmark.segment for batch in batches], pa.int64())


def _completions(batch: Batch) -> pa.Array:
    """Name every completion of which the batch has a version, even one that left only a reject."""
    ids = [pa.array(list(batch.replaced), pa.string()), batch.tables["completions"]["id"].combine_chunks()]
    return pa.concat_arrays(ids).unique()


def _created_by_id(completions: pa.Table, ids: pa.Array) -> dict[str, int | None]:
    rows = completions.filter(pc.is_in(completions["id"], value_set=ids))
    return dict(zip(rows["id"].to_pylist(), rows["created_unix"].to_pylist(), strict=True))
