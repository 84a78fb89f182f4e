"""One date's file made anew: old rows streamed past, replaced ones left out, new ones put in their places.

Nothing here holds more than one row group of the old file, whatever its size.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.load.change import arrange, order
from pipeline.load.update import KEYS, close_held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.schema import Table

#: Arrow bytes of a row group: it bounds the memory of a merge; far smaller ones compress and scan worse.
ROW_GROUP_BYTES = 16 << 20
#: Columns whose values hardly repeat: a dictionary of them takes time and makes files larger, 8 % in all.
_DISTINCT = frozenset(
    [
        *("id", "completion_id", "request_id", "content_hash"),
        *("created", "created_unix", "first_seen", "fetched_at", "valid_from"),
        *("content", "refusal", "arguments", "input", "tools", "logprobs", "extra", "total_tokens"),
    ]
)


def pieces(path: Path) -> Iterator[pa.Table]:
    """Read a data file row group by row group; a missing one has none."""
    if not path.exists():
        return
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


@dataclass(frozen=True, slots=True)
class Touch:
    """What a load does to the rows that one file holds."""

    table: Table
    replaces: pa.Array
    """Rows whose identity is one of these go."""
    segments: pa.Array
    """Rows of these segments go: a killed load left them."""
    updates: pa.Table | None
    """What closes rows that stay."""
    spared: pa.Array | None = None
    """Rows whose identity is one of these stay nevertheless: what replaces them is yet to come to the same file."""

    @property
    def columns(self) -> list[str]:
        """What it looks at."""
        names = {self.table.identity, "segment"}
        if self.updates is not None:
            names |= {KEYS[self.table.name], *self.updates.column_names}
        return sorted(names.intersection(self.table.columns.names) - {"created_date"})

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return what stays of rows; the very same table where nothing changes."""
        identity = rows[self.table.identity]
        gone = pc.or_(pc.is_in(identity, value_set=self.replaces), pc.is_in(rows["segment"], value_set=self.segments))
        if self.spared is not None:
            gone = pc.and_not(gone, pc.is_in(identity, value_set=self.spared))
        kept = rows.filter(pc.invert(gone)) if pc.any(gone).as_py() else rows
        return kept if self.updates is None else close_held(kept, self.table.name, self.updates)


def changes(path: Path, touch: Touch) -> bool:
    """Say whether a row of the file goes or is closed."""
    if not path.exists():
        return False
    with pq.ParquetFile(path) as file:
        rows = file.read(columns=touch.columns)
    return touch(rows) is not rows


def merge(old: Iterable[pa.Table], new: pa.Table, touch: Touch) -> Iterator[pa.Table]:
    """Merge sorted pieces with sorted new rows; ``touch`` says what stays of the old ones."""
    columns = order(touch.table)
    for piece in old:
        kept = touch(piece)
        if not kept.num_rows:
            continue
        before = _rows_before(new, kept.slice(kept.num_rows - 1), columns)
        yield arrange(pa.concat_tables([kept, new.slice(0, before)]), columns) if before else kept
        new = new.slice(before)
    if new.num_rows:
        yield new


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Regroup rows, in their order, by bytes."""
    waiting: list[pa.Table] = []
    size = 0
    for part in (part for table in tables for part in _split(table)):
        waiting.append(part)
        size += part.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def write(first: pa.Table, others: Iterable[pa.Table], to: Path | pa.NativeFile) -> int:
    """Write a data file, one row group for each table; return how many rows."""
    rows = 0
    repeating = [leaf for leaf in _leaves(first.schema) if leaf not in _DISTINCT]
    with pq.ParquetWriter(to, first.schema, compression="zstd", use_dictionary=repeating) as writer:
        for group in chain([first], others):
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
    return rows


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """Name the columns as Parquet does: a map is two of them."""
    for field in schema:
        ends = (".key_value.key", ".key_value.value") if pa.types.is_map(field.type) else ("",)
        yield from (field.name + end for end in ends)


def _split(table: pa.Table) -> Iterator[pa.Table]:
    """Halve a table until each part fits a row group; a single row always does."""
    if table.nbytes <= ROW_GROUP_BYTES or table.num_rows <= 1:
        yield table
        return
    half = table.num_rows // 2
    yield from _split(table.slice(0, half))
    yield from _split(table.slice(half))


def _rows_before(new: pa.Table, row: pa.Table, columns: list[str]) -> int:
    """Count the new rows that stand before ``row``."""
    return bisect.bisect_left(range(new.num_rows), _place(row, 0, columns), key=lambda at: _place(new, at, columns))


def _place(rows: pa.Table, at: int, columns: list[str]) -> list[tuple[bool, object]]:
    """Make a row's place comparable; NULL stands last."""
    values = [rows[name][at].as_py() for name in columns]
    return [(value is None, value) for value in values]
