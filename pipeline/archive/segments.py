"""The archive of one source: immutable, numbered Parquet files, each written whole or not at all.

``archive/<source>/00000001.parquet`` holds rows as received (``schema.SEGMENT``). Its footer says which spans it
covers, under which fingerprint (base URL and filters) and for which organization and project, so that the position is
read from the segments themselves and no state file can disagree with them.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from pipeline import files, schema
from pipeline.archive import coverage, ledger, tombstones
from pipeline.archive.content import Content
from pipeline.archive.footers import Memory
from pipeline.errors import FolderError
from pipeline.failpoints import reach
from pipeline.handoff import Account, Segment, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pipeline.archive.ledger import Entry
    from pipeline.archive.tombstones import Tombstones

#: 1 had completions, coverage and runs only; it is read as it is.
FORMAT = 2
_FOOTER = b"pipeline.segment"
_NAME = re.compile(r"(\d{8})\.parquet")
#: zstd-3 writes 8 % less than zstd-1 for half as much time again; the walk waits for the network anyway.
_COMPRESSION_LEVEL = 3
#: Kinds whose bodies are large; all others are notes, in a row group of their own.
_BULK = pa.array(["completion", "messages"])
_ABOUT = pa.array(schema.ABOUT_COMPLETIONS)
API, ADOPTED, ORGANIZATION = "api", "adopted", "organization"
#: Named, for looking for what a path means takes as long as reading a footer, and a run reads them all.
_LOCAL = LocalFileSystem()
#: What reading a damaged segment may raise: one bit can hit the file, its schema, or the text of its footer.
UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class Reading:
    """Under what a segment's rows were read, and how far."""

    fingerprint: str
    """Names base URL and filters: coverage under another one says nothing about this one."""
    account: Account
    spans: tuple[Span, ...] = ()
    origin: str = API
    """Or ``adopted``, rows from files that somebody saved, or ``organization``, what its usage and costs were: neither
    says anything about what the source lists."""
    content: Content = field(default_factory=Content)
    """What of the bodies was kept."""
    settled: int = 0
    """The input messages of every completion in segments up to this number have been asked for."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a segment says of itself."""

    source: str
    number: int
    reading: Reading
    completions: int
    """Rows of kind completion."""
    first: int | None
    """Smallest ``created`` of the rows that have one."""
    last: int | None
    """Largest ``created`` of them."""
    undated: int
    """Completions whose ``created`` could not be read."""
    new: int = 0
    """Completions of which no earlier version was held."""
    messages: int = 0
    """Completions whose input messages are in it."""
    gone: int = 0
    missed: int = 0
    found: int = 0
    runs: int | None = None
    """Records of runs in it; None where the version that wrote it did not count them."""
    format: int = FORMAT

    @property
    def is_of_the_api(self) -> bool:
        """Whether its rows came from the source itself."""
        return self.reading.origin == API


class Archive:
    """Segments of one source, oldest first; raises FolderError for a file that is not a segment of ours.

    ``entries`` stand for those of the ledger, where that is not believed; ``memory`` is the file that remembers
    footers, for those who need not look at each anew.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        *,
        scratch: Path,
        entries: Mapping[int, Entry] | None = None,
        memory: Path | None = None,
    ) -> None:
        self.source = source
        self._folder = folder / source
        self._scratch = scratch
        self._tombstones = tombstones.read(self._folder)
        # First, for a segment that is entered lies there: beside a writer it must not look as if one were missing.
        self._ledger = ledger.read(self._folder) if entries is None else dict(entries)
        self._memory = Memory(memory)
        self._footers = [self._footer(number) for number in self._numbers()]

    @property
    def footers(self) -> list[Footer]:
        """All footers, oldest first."""
        return self._footers

    @property
    def last(self) -> int:
        """The number of the newest segment, 0 where there is none; one that was entered is not given again."""
        return max(self._footers[-1].number if self._footers else 0, self.entered)

    @property
    def entered(self) -> int:
        """The number of the newest segment that stands in the ledger: a reader beside the writer goes up to it."""
        return max(self._ledger, default=0)

    @property
    def was_exported(self) -> bool:
        """Whether a segment tells of completions, or that there were none: one of an organization does not."""
        return any(footer.reading.origin != ORGANIZATION for footer in self._footers)

    @property
    def tombstones(self) -> Tombstones:
        """What was forgotten, and is never taken in again."""
        return self._tombstones

    @property
    def entries(self) -> dict[int, Entry]:
        """What was entered of each segment when it was written."""
        return self._ledger

    @property
    def settled(self) -> int:
        """The last segment up to which all input messages have been asked for."""
        return max((footer.reading.settled for footer in self._footers), default=0)

    def footer(self, number: int) -> Footer:
        """Return what a segment says of itself."""
        place = bisect.bisect_left(self._footers, number, key=lambda footer: footer.number)
        if place == len(self._footers) or self._footers[place].number != number:
            raise KeyError(number)
        return self._footers[place]

    def path(self, number: int) -> Path:
        """Name a segment's file."""
        return self._folder / file_name(number)

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
        there = {0, *(footer.number for footer in self._footers)}
        # A segment's spans may speak of rows in the one before it: without that they claim nothing.
        readings = (footer.reading for footer in self._footers if footer.number - 1 in there)
        return [span for reading in readings if reading.fingerprint == fingerprint for span in reading.spans]

    def position(self, fingerprint: str) -> int | None:
        """Return the second up to which everything has been read under ``fingerprint``."""
        return coverage.position(self.spans(fingerprint))

    def look(self, through: int) -> None:
        """Take note of segments up to ``through`` that another process has written since."""
        behind = self._footers[-1].number if self._footers else 0
        there = (number for number in range(behind + 1, through + 1) if self.path(number).exists())
        self._footers += [self._footer(number) for number in there]

    def append(self, table: pa.Table, reading: Reading, *, written: Callable[[], None] = lambda: None) -> Footer:
        """Write the next segment and enter it in the ledger; when this returns both are durable.

        ``written`` is called between the two: where entering fails the segment is there all the same, and is entered
        with the next one.
        """
        footer = self._write(table, self.last + 1, reading)
        reach("archive.cut")
        self._footers.append(footer)
        written()
        self.enter()
        reach("archive.entered")
        return footer

    def _write(
        self, table: pa.Table, number: int, reading: Reading, written: Callable[[Path], None] = lambda _: None
    ) -> Footer:
        """Write a segment; ``written`` sees the temp file before it takes its place."""
        footer = _describe(table, self.source, number, reading)
        path = files.make_folder(self._folder) / file_name(footer.number)
        metadata = {**(table.schema.metadata or {}), _FOOTER: msgspec.json.encode(asdict(footer))}
        with files.explained(path), files.replacing(path, scratch=self._scratch) as temp:
            _write(table.replace_schema_metadata(metadata), temp)
            written(temp)
        return footer

    def enter(self, replaced: Mapping[int, tuple[str, ...]] | None = None, lost: Iterable[int] = ()) -> None:
        """Enter every segment behind the last one entered: those that a killed run did not; and those ``lost``."""
        behind = [number for number in self._numbers() if number > max(self._ledger, default=0)]
        if behind or lost:
            with files.explained(self._folder):
                rows = {number: pq.read_metadata(self.path(number)).num_rows for number in behind}
                new = {
                    number: ledger.entry(self.path(number), number, rows[number], (replaced or {}).get(number, ()))
                    for number in behind
                }
            new |= {number: ledger.lost(number) for number in lost}
            self._enter({**self._ledger, **new})
        self._memory.keep(scratch=self._scratch)

    def _enter(self, entries: dict[int, Entry]) -> None:
        ledger.write(self._folder, entries, scratch=self._scratch)
        self._ledger = entries

    def bury(self, told: Tombstones) -> None:
        """Replace the tombstones: from now on every reader obeys them."""
        tombstones.write(self._folder, told, scratch=self._scratch)
        self._tombstones = told

    def rewrite(self, number: int) -> None:
        """Write a segment anew under its number, without what is forgotten; the ledger says what it replaces.

        The ledger comes first: a crash between the two leaves a file that still holds what is pending, and comes again.
        """
        before, there = self._ledger[number], ledger.sha256_of(self.path(number))
        replaces = (*before.replaces, there) if there == before.sha256 else before.replaces
        table = self.columns(number)

        def enter(temp: Path) -> None:
            after = ledger.entry(temp, number, table.num_rows, replaces)
            self._enter({**self._ledger, number: after})
            reach("archive.rewritten")

        footer = self._write(table, number, self.footer(number).reading, enter)
        self._footers = [footer if other.number == number else other for other in self._footers]

    def read(self, number: int) -> Segment:
        """Read one segment back."""
        table = self.columns(number)
        reading = self.footer(number).reading
        return Segment(self.source, number, table, reading.spans, reading.origin)

    def after(self, number: int, through: int | None = None) -> Iterator[Segment]:
        """Read every segment behind ``number``, up to ``through``, one at a time."""
        last = self.last if through is None else through
        return (self.read(footer.number) for footer in self._footers if number < footer.number <= last)

    @property
    def missing(self) -> list[int]:
        """The segments that should be there and are not; not those given up."""
        return self._missing(self._ledger)

    def _missing(self, entries: Mapping[int, Entry]) -> list[int]:
        return missing({footer.number for footer in self._footers}, self.last, entries)

    def insist_on_whole(self, entries: Mapping[int, Entry] | None = None) -> None:
        """Raise FolderError where a segment is missing: nothing may be made anew, or removed, from what is left."""
        if numbers := self._missing(self._ledger if entries is None else entries):
            raise lacking(self.path(numbers[0]))

    def columns(self, number: int, names: list[str] | None = None) -> pa.Table:
        """Read some columns of a segment, or all of them."""
        path = self.path(number)
        wanted = [*dict.fromkeys([*names, "kind", "id"])] if names and self._tombstones.pending else names
        try:
            with pq.ParquetFile(path) as file:
                table = _completed(file.read(columns=wanted), wanted)
        except UNREADABLE as error:
            raise _unreadable(path, str(error)) from error
        return _remembered(table, self._tombstones).select(names or schema.SEGMENT.names)

    def raw_ids(self, number: int) -> list[str]:
        """Return every completion named in a segment's file, forgotten ones too; only forgetting may ask."""
        with pq.ParquetFile(self.path(number)) as file:
            table = file.read(columns=["kind", "id"])
        return table.filter(pc.is_in(table["kind"], value_set=_ABOUT))["id"].unique().to_pylist()  # type: ignore[no-any-return]

    def notes(self, number: int) -> pa.Table:
        """Read the rows of a segment that are no completions or messages, in a row group of their own."""
        path = self.path(number)
        try:
            footer = self.footer(number)
            with pq.ParquetFile(path) as file:
                are_there = file.metadata.num_rows > footer.completions + footer.messages
                last = file.num_row_groups - 1
                table = _completed(file.read_row_group(last)) if are_there else schema.SEGMENT.empty_table()
        except UNREADABLE as error:
            raise _unreadable(path, str(error)) from error
        return _remembered(table.filter(pc.invert(pc.is_in(table["kind"], value_set=_BULK))), self._tombstones)

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield the records of runs, newest first, each with the segment that holds it."""
        for footer in reversed(self._footers):
            if footer.runs == 0:  # not opened: what many segments hold must not make each night longer
                continue
            notes = self.notes(footer.number)
            yield from (
                (footer.number, body) for body in notes.filter(pc.equal(notes["kind"], "run"))["body"].to_pylist()
            )

    def _numbers(self) -> list[int]:
        return sorted(number for number, _ in files_in(self._folder))

    def _footer(self, number: int) -> Footer:
        path = self.path(number)
        try:
            return _footer(self._memory.text(number, path, _read_footer), path)
        except UNREADABLE as error:
            raise _unreadable(path, str(error)) from error


def _read_footer(path: Path) -> bytes:
    return _text_of(pq.read_metadata(path, filesystem=_LOCAL))


def segment(data: bytes | pa.Buffer, forgotten: Tombstones, path: Path | str) -> Segment:
    """Read one segment from the bytes of its file; ``path`` is for errors. Raises FolderError where it is none."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            footer, table = _footer(_text_of(file.metadata), path), _completed(file.read())
    except UNREADABLE as error:
        raise _unreadable(path, str(error)) from error
    spans, origin = footer.reading.spans, footer.reading.origin
    return Segment(footer.source, footer.number, _remembered(table, forgotten), spans, origin)


def missing(there: set[int], last: int, entries: Mapping[int, Entry]) -> list[int]:
    """Name the segments that should be there, up to ``last`` and by the ledger, and are not; not those given up."""
    given_up = {number for number, entry in entries.items() if entry.is_lost}
    return sorted({*range(1, last + 1), *entries} - there - given_up)


def sources(folder: Path) -> list[str]:
    """Return the names of all sources that the archive holds."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _write(table: pa.Table, path: Path) -> None:
    """Write completions and messages, then notes, in row groups of their own: a run's record is read without a body."""
    bulk = pc.sum(pc.is_in(table["kind"], value_set=_BULK)).as_py() or 0
    with pq.ParquetWriter(
        path, table.schema, compression="zstd", compression_level=_COMPRESSION_LEVEL, use_dictionary=["kind"]
    ) as writer:
        for part in (table.slice(0, bulk), table.slice(bulk)):
            if part.num_rows:
                writer.write_table(part, row_group_size=part.num_rows)


def _text_of(metadata: pq.FileMetaData) -> bytes:
    return (metadata.metadata or {})[_FOOTER]  # type: ignore[no-any-return]


def _footer(text: bytes, path: Path | str) -> Footer:
    """Read what a file says of itself; raises one of UNREADABLE where it is no segment."""
    fields = msgspec.json.decode(text, type=dict[str, object])
    if fields.get("format") in range(1, FORMAT + 1):
        return msgspec.convert(fields, Footer)
    raise FolderError(
        f"{path} has format {fields.get('format')}, this version knows formats up to {FORMAT}",
        hint="use the newer version of pipeline that wrote it",
    )


def _remembered(table: pa.Table, told: Tombstones) -> pa.Table:
    """Pass over what is being forgotten."""
    if not told.pending:
        return table
    is_kept = pa.array(told.kept(table["id"]), pa.bool_())
    return table.filter(pc.or_(is_kept, pc.invert(pc.is_in(table["kind"], value_set=_ABOUT).combine_chunks())))


def _completed(table: pa.Table, names: list[str] | None = None) -> pa.Table:
    """Give rows of an older format the columns that it lacked, and all of them today's types."""
    missing = {"has_messages": pa.scalar(False), "blobs": pa.scalar([], pa.list_(pa.binary(32)))}
    for name in missing.keys() - set(table.column_names):
        if names is None or name in names:
            table = table.append_column(schema.SEGMENT.field(name), pa.repeat(missing[name], table.num_rows))
    wanted = names or schema.SEGMENT.names
    return table.select(wanted).cast(pa.schema([schema.SEGMENT.field(name) for name in wanted]))


def files_in(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the segments that lie in the folder of a source, by number."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if (number := number_of(path.name)) is not None:
            yield number, path


def number_of(name: str) -> int | None:
    """Read the number in the name of a segment's file; None for another file."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def recomputed(table: pa.Table, told: Footer) -> Footer:
    """Say of a segment's rows what its footer should."""
    found = _describe(table, told.source, told.number, told.reading)
    return replace(found, format=told.format, runs=None if told.runs is None else found.runs)


def file_name(number: int) -> str:
    """Name the file of a segment."""
    return f"{number:08d}.parquet"


def lacking(path: Path | str) -> FolderError:
    """Say that a segment is missing."""
    return FolderError(
        f"{path} is missing, and the archive cannot be derived again",
        hint="restore it from a backup, or by `pipeline archive pull` from where it was pushed; "
        "without either, `pipeline rebuild ledger --accept-losses` notes the loss",
    )


def _unreadable(path: Path | str, why: str) -> FolderError:
    return FolderError(
        f"{path} cannot be read as a segment of the archive: {why}",
        hint="the archive cannot be derived again: restore this file from a backup",
    )


def _describe(table: pa.Table, source: str, number: int, reading: Reading) -> Footer:
    is_completion = pc.equal(table["kind"], "completion")
    completions = table.select(["created", "is_version"]).filter(is_completion)
    bounds = pc.min_max(table["created"])
    counts = {pair["values"]: pair["counts"] for pair in table["kind"].value_counts().to_pylist()}
    return Footer(
        source=source,
        number=number,
        reading=reading,
        completions=completions.num_rows,
        first=bounds["min"].as_py(),
        last=bounds["max"].as_py(),
        undated=completions["created"].null_count,
        new=pc.sum(pc.invert(completions["is_version"])).as_py() or 0,
        messages=counts.get("messages", 0),
        gone=counts.get("gone", 0),
        missed=counts.get("missed", 0),
        found=counts.get("found", 0),
        runs=counts.get("run", 0),
    )
