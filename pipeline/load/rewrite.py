"""What a load does to the data files of a Delta table: files never change, so it writes new ones and names the old.

A file holds rows of one source and one date, unless another program wrote it. Nothing here holds more than one row
group of a file, whatever its size.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.load.merge import Touch, merge, row_groups
from pipeline.schema import TABLES

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.load.change import Change
    from pipeline.load.place import Place

#: A source's newest file of a date takes new rows in up to this size: so there are no small files, and none to compact.
SMALL = 32 << 20
#: Names of sources that may stand in a file's name; all that the settings allow.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class File:
    """One data file that a table refers to."""

    path: str
    size: int
    rows: int
    date: str
    """The created_date of all of its rows."""
    source: str | None
    """The source of all of its rows; None where another program wrote it, or what it is made of: any may be in it."""


class Store(Protocol):
    """A table that files come to and go from: the Delta table itself, or what is staged to replace it."""

    name: str
    place: Place

    def refresh(self) -> None:
        """Look at what is there now."""
        ...

    def held(self, source: str) -> int:
        """Return the last segment of a source that it holds."""
        ...

    def files(self) -> list[File]:
        """List the files of the version last looked at."""
        ...

    def commit(self, coming: Sequence[File], going: Sequence[File], bookmarks: Mapping[str, int]) -> None:
        """Let files come and go, and move bookmarks, in one act; raises CommitFailedError where another was first."""
        ...


def rewritten(store: Store, change: Change) -> tuple[list[File], list[File]]:
    """Write the files that a change makes, and say which others they replace."""
    source = change.bookmark.source
    there: dict[str, list[File]] = defaultdict(list)
    for file in store.files():
        there[file.date].append(file)
    new = _by_date(change.rows[store.name])
    nothing = change.rows[store.name].slice(0, 0).drop_columns(["created_date"])
    coming, going = [], []
    for date in sorted(change.dates):
        rows, touch = new.get(str(date), nothing), _touch(store.name, change, date)
        home = _home(there[str(date)], source) if rows.num_rows else None
        for file in there[str(date)]:
            if file is home or (touch and _changes(store, file, touch, source)):
                going.append(file)
                more = rows if file is home else nothing
                groups = row_groups(_after(store, file, more, touch, source))
                coming += written(store, groups, file.date, source, is_mixed=file.source is None)
        if rows.num_rows and home is None:
            coming += written(store, row_groups([rows]), str(date), source)
    return coming, going


def _home(files_: Sequence[File], source: str) -> File | None:
    """Choose the file that takes new rows in: the source's smallest, unless it is large enough."""
    small = [file for file in files_ if file.source == source and file.size < SMALL]
    return min(small, key=lambda file: file.size, default=None)


def _touch(name: str, change: Change, date: dt.date) -> Touch | None:
    """Say what a load does to the older rows of one date; None is nothing.

    A segment is loaded once: what replaces rows of the same segment only has none to replace.
    """
    updates = change.updates.get(name)
    if updates is not None:
        updates = updates.filter(pc.equal(updates["created_date"], pa.scalar(date, pa.date32())))
        updates = updates if updates.num_rows else None
    table, none = TABLES[name], change.replaces[name].slice(0, 0)
    replaces = none if table.replaced_by == "segment" else change.replaces[name]
    if not len(replaces) and updates is None:
        return None
    return Touch(table, replaces, change.segments.slice(0, 0), updates)


def _changes(store: Store, file: File, touch: Touch, source: str) -> bool:
    """Say whether a row of a file goes or is closed."""
    if file.source not in {source, None}:
        return False
    with store.place.opened(store.name, file.path) as opened:
        rows = opened.read(columns=["source", *touch.columns])
    mine = _of(rows, source, file)
    return touch(mine) is not mine


def _after(store: Store, file: File, new: pa.Table, touch: Touch | None, source: str) -> Iterator[pa.Table]:
    """Yield what a file holds after a load: old rows less the replaced ones, and the new ones in their places."""
    old = pieces(store, file)
    if file.source is None:  # sorted in another program's way, and never a home
        for rows in old:
            mine = _of(rows, source, file)
            kept = [touch(mine) if touch else mine, without(rows, [source])]
            yield from (part for part in kept if part.num_rows)
    elif touch is not None:
        yield from merge(old, new, touch)
    else:
        none = new["segment"].combine_chunks().slice(0, 0)
        table = TABLES[store.name]
        identity = new[table.identity].combine_chunks().slice(0, 0)
        yield from merge(old, new, Touch(table, identity, none, None))


def pieces(store: Store, file: File) -> Iterator[pa.Table]:
    """Read a file row group by row group, as we declare its columns."""
    declared = TABLES[store.name].columns
    columns = pa.schema([field for field in declared if field.name != "created_date"])
    with store.place.opened(store.name, file.path) as opened:
        for group in range(opened.num_row_groups):
            yield opened.read_row_group(group, columns=columns.names).select(columns.names).cast(columns)


def _of(rows: pa.Table, source: str, file: File) -> pa.Table:
    """Return the rows of one source; the very same table where the file has no other."""
    return rows if file.source == source else rows.filter(pc.equal(rows["source"], source))


def without(rows: pa.Table, sources: Iterable[str]) -> pa.Table:
    """Leave out the rows of some sources."""
    return rows.filter(pc.invert(pc.is_in(rows["source"], value_set=pa.array(sorted(sources), pa.string()))))


def written(store: Store, groups: Iterator[pa.Table], date: str, source: str, *, is_mixed: bool = False) -> list[File]:
    """Write one file of what there is; nothing makes none. It has the source's name, also where it has others' rows.

    By the name it is known whose it is for as long as no version refers to it.
    """
    if (first := next(groups, None)) is None:
        return []
    count = first.num_rows

    def counted() -> Iterator[pa.Table]:
        nonlocal count
        for group in groups:
            count += group.num_rows
            yield group

    path = f"created_date={date}/{prefix(source)}.{uuid.uuid4().hex}.parquet"
    size = store.place.write(store.name, path, first, counted())
    return [File(path, size, count, date, None if is_mixed else source)]


def _by_date(rows: pa.Table) -> dict[str, pa.Table]:
    """Cut rows that are sorted by date into one table per date."""
    cut, start = {}, 0
    for one in rows["created_date"].value_counts():
        number = one["counts"].as_py()
        cut[str(one["values"].as_py())] = rows.slice(start, number).drop_columns(["created_date"])
        start += number
    return cut


def prefix(source: str) -> str:
    """Return what the names of a source's files begin with."""
    return source if _NAME.fullmatch(source) else sha256(source.encode()).hexdigest()[:16]


def prefix_of(path: str) -> str:
    """Return what a file's name begins with."""
    return path.rpartition("/")[2].partition(".")[0]


def sources_of(store: Store) -> set[str]:
    """Name every source of which a table has rows."""
    told = {file.source for file in store.files() if file.source is not None}
    return told.union(*(sources_in(store, file.path) for file in store.files() if file.source is None))


def sources_in(store: Store, path: str) -> set[str]:
    """Read which sources are in a file that another program wrote."""
    with store.place.opened(store.name, path) as opened:
        return set(opened.read(columns=["source"])["source"].to_pylist())
