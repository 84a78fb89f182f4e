"""What closes older rows: a completion that went, a version that another one follows. Set where NULL, never again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.handoff import Batch

#: By table: the column with the completion's id.
KEYS = {"completions": "id", "metadata_history": "completion_id"}
_NAMES = ("id", "created_date")


def updated(latest: dict[str, pa.Table], batches: Sequence[Batch]) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Apply what batches say of rows of earlier ones; return the tables, and what is left for rows held before."""
    left: dict[str, pa.Table] = {}
    for name in KEYS:
        told = [(batch.bookmark.segment, batch.updates[name]) for batch in batches if name in batch.updates]
        if not told:
            continue
        latest[name], rest = _apply(latest[name], name, told)
        if rest.num_rows:
            left[name] = rest
    return latest, left


def _apply(rows: pa.Table, name: str, told: Sequence[tuple[int, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    """Give each update to the newest row that is older than it and still open; else it is for a row held before."""
    first = told[0][1].column_names[len(_NAMES)]
    places = _open_rows(rows, name, first, told)
    values: dict[int, dict[str, Any]] = {}
    rest: list[pa.Table] = []
    for segment, updates in told:
        kept = []
        for number, update in enumerate(updates.to_pylist()):
            ours = [(at, place) for at, place in places.get(update["id"], ()) if place not in values]
            older = [place for at, place in ours if at < segment]
            if older:
                values[older[-1]] = update
            elif not (name == "completions" and ours):  # a newer version is here: what was held before it goes anyway
                kept.append(number)
        rest.append(updates.take(pa.array(kept, pa.int64())))
    return close(rows, values), _first_of_each(pa.concat_tables(rest))


def _first_of_each(updates: pa.Table) -> pa.Table:
    """Keep the first update of each id: it closed the row, and later ones find it closed."""
    first: dict[str, int] = {}
    for place, id_ in enumerate(updates["id"].to_pylist()):
        first.setdefault(id_, place)
    return updates.take(pa.array(list(first.values()), pa.int64()))


def _open_rows(
    rows: pa.Table, name: str, first: str, told: Sequence[tuple[int, pa.Table]]
) -> dict[str, list[tuple[int, int]]]:
    """Return by id the open rows that an update may mean, oldest segment first, each with its place."""
    ids = pa.concat_arrays([updates["id"].combine_chunks() for _, updates in told]).unique()
    meant = pc.and_(pc.is_in(rows[KEYS[name]], value_set=ids), pc.is_null(rows[first]))
    places = pc.indices_nonzero(meant)
    part = rows.select([KEYS[name], "segment"]).take(places)
    found: dict[str, list[tuple[int, int]]] = {}
    for id_, segment, place in zip(*(column.to_pylist() for column in part.columns), places.to_pylist(), strict=True):
        found.setdefault(id_, []).append((segment, place))
    return {id_: sorted(ones) for id_, ones in found.items()}


def close(rows: pa.Table, values: Mapping[int, Mapping[str, Any]]) -> pa.Table:
    """Set columns of the rows at some places; the very same table where there are none."""
    if not values:
        return rows
    for name in next(iter(values.values())):
        if name in _NAMES:
            continue
        column = rows[name].to_pylist()
        for place, update in values.items():
            column[place] = update[name]
        position = rows.column_names.index(name)
        rows = rows.set_column(position, rows.schema.field(name), pa.array(column, rows.schema.field(name).type))
    return rows


def close_held(rows: pa.Table, name: str, updates: pa.Table) -> pa.Table:
    """Apply updates to rows that a destination holds."""
    first = updates.column_names[len(_NAMES)]
    meant = pc.and_(pc.is_in(rows[KEYS[name]], value_set=updates["id"].combine_chunks()), pc.is_null(rows[first]))
    places = pc.indices_nonzero(meant).to_pylist()
    by_id = {update["id"]: update for update in updates.to_pylist()} if places else {}
    ids = rows[KEYS[name]].take(pa.array(places, pa.int64())).to_pylist() if places else []
    return close(rows, {place: by_id[id_] for place, id_ in zip(places, ids, strict=True)})
