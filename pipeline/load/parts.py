"""The files of one table, source and date: one, or several that follow each other by ``created``.

A file that is full takes in only what belongs among its own rows; what comes later begins the next file. So a date of
very many completions is not rewritten by each load that adds to it. A row without ``created`` is in the last file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Uncompressed bytes from which on a file is full: two row groups, which a load rewrites in half a second.
FULL_BYTES = 32 << 20
#: What names a date's files.
PATTERN = "data*.parquet"
_FIRST = "data.parquet"


def is_part(name: str) -> bool:
    """Tell whether a file's name is one of a date's files."""
    return name.startswith("data") and name.endswith(".parquet")


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort a date's files by their number, which only the first one does not have."""
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def divide(folder: Path, new: pa.Table, full: int = FULL_BYTES) -> list[tuple[Path, pa.Table]]:
    """Say which of the new rows, sorted by ``created``, go to which file: of all that are there, and of one to begin.

    Every row lies in the file to which it would go today, for the files' stretches of seconds follow each other.
    """
    there = in_order(folder.glob(PATTERN))
    if not there or "created" not in new.column_names:
        return [(folder / _FIRST, new)]
    cuts = [_before(new, _bound(pq.read_metadata(path), 0, "min")) for path in there[1:]]
    ends = [*cuts, new.num_rows]
    later = _later(there[-1], new, full)
    if later is not None:
        ends[-1] = later
        ends.append(new.num_rows)
        there.append(folder / f"data-{_number(there[-1]) + 1}.parquet")
    starts = [0, *ends]
    return [(path, new.slice(start, end - start)) for path, start, end in zip(there, starts, ends, strict=False)]


def _later(last: Path, new: pa.Table, full: int) -> int | None:
    """Return where the rows begin that are to begin a new file; None where the last one goes on to take them in."""
    if not new.num_rows or new["created"].null_count:
        return None
    told = pq.read_metadata(last)
    groups = [told.row_group(number) for number in range(told.num_row_groups)]
    if sum(group.total_byte_size for group in groups) < full:
        return None
    if _column(told, len(groups) - 1).statistics.null_count:
        return None
    begins = _before(new, _bound(told, len(groups) - 1, "max"), is_behind=True)
    return begins if begins < new.num_rows else None


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2] or 1)


def _bound(told: pq.FileMetaData, group: int, which: str) -> pa.Scalar:
    """Return the least or the most ``created`` of a row group."""
    return pa.scalar(getattr(_column(told, group).statistics, which), pa.timestamp("us", "UTC"))


def _column(told: pq.FileMetaData, group: int) -> pq.ColumnChunkMetaData:
    return told.row_group(group).column(told.schema.names.index("created"))


def _before(rows: pa.Table, second: pa.Scalar, *, is_behind: bool = False) -> int:
    """Count the rows that are older than ``second``, or not later where that is asked; no second is later than any."""
    is_before = (pc.less_equal if is_behind else pc.less)(rows["created"], second)
    dated: int = rows.num_rows - rows["created"].null_count
    return pc.sum(is_before).as_py() or 0 if second.is_valid else dated
