"""The archive of one source: immutable, numbered Parquet files, each written whole or not at all.

``archive/<source>/00000001.parquet`` holds rows as received (``schema.SEGMENT``). Its footer says which spans it
covers, under which fingerprint (base URL and filters) and for which organization and project, so that the position is
read from the segments themselves and no state file can disagree with them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import files, schema
from pipeline.archive import coverage
from pipeline.errors import FolderError
from pipeline.failpoints import reach
from pipeline.handoff import Account, Segment, Span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
_FOOTER = b"pipeline.segment"
_NAME = re.compile(r"(\d{8})\.parquet")
#: zstd-3 writes 8 % less than zstd-1 for half as much time again; the walk waits for the network anyway.
_COMPRESSION_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """Under what a segment's rows were read, and how far."""

    fingerprint: str
    """Names base URL and filters: coverage under another one says nothing about this one."""
    account: Account
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What a segment says of itself."""

    source: str
    number: int
    reading: Reading
    completions: int
    """Rows of kind completion."""
    first: int | None
    """Smallest ``created`` of them."""
    last: int | None
    """Largest ``created`` of them."""
    undated: int
    """Completions whose ``created`` could not be read."""
    format: int = FORMAT


class Archive:
    """Segments of one source, oldest first; raises FolderError for a file that is not a segment of ours."""

    def __init__(self, folder: Path, source: str, *, scratch: Path) -> None:
        self.source = source
        self._folder = folder / source
        self._scratch = scratch
        self._footers = [self._footer(number) for number in self._numbers()]

    @property
    def footers(self) -> list[Footer]:
        """All footers, oldest first."""
        return self._footers

    @property
    def last(self) -> int:
        """The number of the newest segment; 0 where there is none."""
        return self._footers[-1].number if self._footers else 0

    @property
    def account(self) -> Account:
        """The organization and project that the source is known to belong to."""
        told = [footer.reading.account for footer in self._footers]
        return Account(
            next((account.organization for account in told if account.organization), None),
            next((account.project for account in told if account.project), None),
        )

    def spans(self, fingerprint: str) -> list[Span]:
        """Return what was read under ``fingerprint``, in the order it was read."""
        readings = (footer.reading for footer in self._footers)
        return [span for reading in readings if reading.fingerprint == fingerprint for span in reading.spans]

    def position(self, fingerprint: str) -> int | None:
        """Return the second up to which everything has been read under ``fingerprint``."""
        return coverage.position(self.spans(fingerprint))

    def append(self, table: pa.Table, reading: Reading) -> Footer:
        """Write the next segment; when this returns it is durable."""
        footer = _describe(table, self.source, self.last + 1, reading)
        path = files.make_folder(self._folder) / _name(footer.number)
        metadata = {**(table.schema.metadata or {}), _FOOTER: msgspec.json.encode(asdict(footer))}
        with files.explained(path), files.replacing(path, scratch=self._scratch) as temp:
            _write(table.replace_schema_metadata(metadata), footer.completions, temp)
        reach("archive.cut")
        self._footers.append(footer)
        return footer

    def read(self, number: int) -> Segment:
        """Read one segment back."""
        table = self.columns(number)
        return Segment(self.source, number, table, self._footers_by_number()[number].reading.spans)

    def after(self, number: int) -> Iterator[Segment]:
        """Read every segment behind ``number``, one at a time."""
        return (self.read(footer.number) for footer in self._footers if footer.number > number)

    def columns(self, number: int, names: list[str] | None = None) -> pa.Table:
        """Read some columns of a segment, or all of them."""
        path = self._folder / _name(number)
        try:
            table = pq.read_table(path, columns=names, partitioning=None)
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(path, str(error)) from error
        return table if names else table.cast(schema.SEGMENT)

    def notes(self, number: int) -> pa.Table:
        """Read the rows of a segment that are no completions; they are few, in a row group of their own."""
        path = self._folder / _name(number)
        try:
            with pq.ParquetFile(path) as file:
                table = (
                    file.read_row_group(file.num_row_groups - 1)
                    if file.num_row_groups
                    else schema.SEGMENT.empty_table()
                )
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(path, str(error)) from error
        return table.filter(pc.not_equal(table["kind"], "completion"))

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield the records of runs, newest first, each with the segment that holds it."""
        for footer in reversed(self._footers):
            notes = self.notes(footer.number)
            yield from (
                (footer.number, body) for body in notes.filter(pc.equal(notes["kind"], "run"))["body"].to_pylist()
            )

    def _footers_by_number(self) -> dict[int, Footer]:
        return {footer.number: footer for footer in self._footers}

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(found[1]) for path in self._folder.iterdir() if (found := _NAME.fullmatch(path.name)))

    def _footer(self, number: int) -> Footer:
        path = self._folder / _name(number)
        try:
            metadata = pq.read_metadata(path).metadata or {}
            fields = msgspec.json.decode(metadata[_FOOTER], type=dict[str, object])
        except (pa.ArrowInvalid, OSError, KeyError, msgspec.MsgspecError) as error:
            raise _unreadable(path, str(error)) from error
        if fields.get("format") != FORMAT:
            raise FolderError(
                f"{path} has format {fields.get('format')}, this version knows format {FORMAT}",
                hint="use the newer version of pipeline that wrote it",
            )
        return msgspec.convert(fields, Footer)


def sources(folder: Path) -> list[str]:
    """Return the names of all sources that the archive holds."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _write(table: pa.Table, completions: int, path: Path) -> None:
    """Write completions, then notes, in row groups of their own: a run's record is read without any body."""
    with pq.ParquetWriter(
        path, table.schema, compression="zstd", compression_level=_COMPRESSION_LEVEL, use_dictionary=["kind"]
    ) as writer:
        for part in (table.slice(0, completions), table.slice(completions)):
            if part.num_rows:
                writer.write_table(part, row_group_size=part.num_rows)


def _name(number: int) -> str:
    return f"{number:08d}.parquet"


def _unreadable(path: Path, why: str) -> FolderError:
    return FolderError(
        f"{path} cannot be read as a segment of the archive: {why}",
        hint="the archive cannot be derived again: restore this file from a backup",
    )


def _describe(table: pa.Table, source: str, number: int, reading: Reading) -> Footer:
    created = table.filter(pc.equal(table["kind"], "completion"))["created"]
    bounds = pc.min_max(created)
    return Footer(
        source=source,
        number=number,
        reading=reading,
        completions=len(created),
        first=bounds["min"].as_py(),
        last=bounds["max"].as_py(),
        undated=created.null_count,
    )
