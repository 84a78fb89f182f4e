"""The one door of Delta Lake, and the destination behind it: one Delta table per table, partitioned by date.

Each commit carries the rows of a load and, as an app transaction, the segment that the table then holds of the source.
A commit is taken only as the very next version of what it was worked out from: delta-rs would also let one through that
another program's OPTIMIZE overtook, and then rows are there twice. The data files are ours, so that memory is bounded
by row groups, nothing but the source's name gets into the log's statistics, and a file is durable before it counts.
Tables are committed one after the other, ``completions`` last; a destination holds what all of them do.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    DeltaProtocolError,
    SchemaMismatchError,
    TableNotFoundError,
)
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import FileSystem, PyFileSystem

from pipeline import files
from pipeline.errors import ConfigError, DiskFullError, FolderError, PipelineError, RefusedError, TryAgainError
from pipeline.failpoints import reach
from pipeline.load.change import work_out
from pipeline.load.merge import row_groups
from pipeline.load.rewrite import (
    File,
    Store,
    pieces,
    prefix,
    prefix_of,
    rewritten,
    sources_in,
    sources_of,
    without,
    written,
)
from pipeline.schema import TABLES, describe, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow.dataset as ds

    from pipeline.handoff import Batch
    from pipeline.load.change import Change
    from pipeline.load.place import Place

LAYOUT = "pipeline.layout"
#: Commits of others that a load lets pass before it gives up; each of them is somebody's progress.
ATTEMPTS = 16
#: Readers must not see a completion before its children: it comes last.
_ORDER = (*(name for name in TABLES if name != "completions"), "completions")
#: Seconds after which nobody is still writing a temp file: another writer of the same source would in a moment.
_ABANDONED = 3600
#: Characters of a server's words that are told.
_SAID = 300
#: What delta-rs says to terminals, and where it begins to name its own functions.
_COLOURS, _FRAMES = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\n *0: .*", re.DOTALL)
#: Words of a message, and the error it becomes.
_MEANINGS: tuple[tuple[tuple[str, ...], type[PipelineError], str, str], ...] = (
    (
        ("No space left", "File too large", "quota exceeded"),
        DiskFullError,
        "no space left while writing",
        "free some space and run again; what was committed is intact",
    ),
    (
        ("not found", "No such file"),
        FolderError,
        "something is missing in",
        "see whether the place is still there; `pipeline rebuild delta` makes the tables anew",
    ),
    (
        ("Permission denied", "Access Denied", "AccessDenied", "403 Forbidden", "InvalidAccessKeyId", "SignatureDoes"),
        RefusedError,
        "not allowed to open",
        "check who owns it, or the keys that destinations.delta_options names",
    ),
)


class DeltaDestination:
    """Delta tables under one root; made ``anew``, they are staged beside what serves, until ``take_place``."""

    name = "delta"

    def __init__(self, place: Place, *, logprobs: bool = False, anew: bool = False) -> None:
        self._place = place
        layout = digest(logprobs=logprobs)
        self._tables = {name: _Table(name, place, layout) for name in _ORDER}
        self._staged = {name: _Staged(name, place) for name in _ORDER} if anew else {}
        self._stores: Mapping[str, Store] = self._staged or self._tables
        self._told: dict[str, int] = {}
        self._has_loaded = False

    @property
    def place(self) -> Place:
        """Where the tables lie."""
        return self._place

    @property
    def is_there(self) -> bool:
        """Whether any of the tables is there, of whatever layout."""
        with _door(self._place):
            return any(table.is_there for table in self._tables.values())

    @property
    def is_outdated(self) -> bool:
        """Whether tables are there that cannot be gone on with: they must be made anew beside, for readers see them."""
        with _door(self._place):
            return self.is_there and not all(table.is_current for table in self._tables.values())

    def is_being_loaded(self, sources: Sequence[str]) -> bool:
        """Tell whether a load of one of these was interrupted: some tables are as before it and some as after it."""
        return any(len(set(numbers)) > 1 for source, numbers in self._held().items() if source in sources)

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment by source that every table holds; who was told so loads only what is behind it."""
        told = {source: min(numbers) for source, numbers in self._held().items() if min(numbers)}
        self._told |= {source: max(number, self._told.get(source, 0)) for source, number in told.items()}
        return told

    def load(self, batches: Sequence[Batch], *, settle: bool = True) -> None:
        """Take every table on by what it does not hold yet, each in one commit; always settled."""
        del settle
        changes: dict[int, Change | None] = {}
        with _door(self._place):
            if batches:
                self._place.change_modes()
                self._place.clear({prefix(batches[0].bookmark.source)}, seconds=_ABANDONED)
            for name in _ORDER if batches else ():
                _take_on(self._stores[name], batches, changes, self._told)
        for batch in batches:
            self._told[batch.bookmark.source] = batch.bookmark.segment
        self._has_loaded = self._has_loaded or bool(batches)

    def settle(self) -> None:
        """Delete what no version of the last week refers to; a load is durable when it returns."""
        if self._has_loaded and not self._staged:
            with _door(self._place):
                for table in self._tables.values():
                    table.vacuum()
        self._has_loaded = False

    def close(self) -> None:
        """Return at once: nothing stays open between loads."""

    def take_place(self) -> None:
        """Put what was staged in the place of the sources' files, table by table, each in one commit."""
        with _door(self._place):
            for name, staged in self._staged.items():
                _commit(self._tables[name], partial(_exchange, staged=staged))

    def purge(self, sources: Sequence[str]) -> None:
        """Delete every data file of some sources that the newest versions do not refer to: no old one keeps it.

        Nobody may load these meanwhile; what others are about to commit of theirs stays.
        """
        with _door(self._place):
            self._place.clear({prefix(source) for source in sources})
            for table in self._tables.values():
                table.purge(sources)

    def datasets(self) -> dict[str, ds.Dataset]:
        """Open each table that is there for reading, through Arrow."""
        with _door(self._place):
            return {name: table.dataset() for name, table in self._tables.items() if table.is_current}

    def missing(self) -> list[str]:
        """Name the tables that are not there, or of another layout."""
        with _door(self._place):
            return [table.uri for table in self._tables.values() if not table.is_current]

    def _held(self) -> dict[str, list[int]]:
        """Return by source what each table holds of it."""
        with _door(self._place):
            for table in self._tables.values():  # before anything is staged among them: what is not ours is refused
                table.refresh()
            sources = sorted({source for store in self._stores.values() for source in sources_of(store)})
            return {source: [store.held(source) for store in self._stores.values()] for source in sources}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one commit does to a table."""

    coming: tuple[File, ...]
    going: tuple[File, ...]
    bookmarks: Mapping[str, int]


def _take_on(
    store: Store, batches: Sequence[Batch], changes: dict[int, Change | None], told: Mapping[str, int]
) -> None:
    """Load what a table does not hold; ``changes`` remembers what was worked out, by the segment held before.

    Raises TryAgainError where it holds less than was ``told``: what lies between would be taken for loaded.
    """
    source = batches[0].bookmark.source

    def plan(store: Store) -> _Plan | None:
        held = store.held(source)
        if held < told.get(source, 0):
            raise TryAgainError(
                f"delta: {store.place.uri(store.name)} was emptied or removed while {source} was loaded",
                hint="run again: what it held comes back from the archive",
            )
        if held not in changes:
            changes[held] = work_out(batches, held)
        if (change := changes[held]) is None:
            return None
        coming, going = rewritten(store, change)
        reach("delta.written")
        return _Plan(tuple(coming), tuple(going), {source: change.bookmark.segment})

    _commit(store, plan)


def _commit(store: Store, plan: Callable[[Store], _Plan | None]) -> None:
    """Commit what is worked out from the newest version; where another was first, look again.

    What was written stays good for as long as the source's bookmark and all of the table's files of old are there.
    """
    planned: _Plan | None = None
    seen: object = None
    for _ in range(ATTEMPTS):
        store.refresh()
        if seen is None or seen != _seen(store, planned):
            planned = plan(store)
            seen = _seen(store, planned)
        if planned is None:
            return
        try:
            store.commit(planned.coming, planned.going, planned.bookmarks)
        except CommitFailedError:
            continue
        reach("delta.committed")
        return
    raise TryAgainError(
        f"delta: others wrote {ATTEMPTS} versions of {store.place.uri(store.name)} while one was to be added",
        hint="run again when less is written there: what was committed is intact",
    )


def _seen(store: Store, planned: _Plan | None) -> object:
    """Tell what a plan relies on: the bookmarks, and the files of those sources and of other programs."""
    sources = planned.bookmarks.keys() if planned else ()
    relevant = frozenset(file.path for file in store.files() if file.source is None or file.source in sources)
    return [store.held(source) for source in sources], relevant


# -- one table -----------------------------------------------------------------------------------------------------


class _Table:
    """One Delta table: what its newest version holds, and the one way to make the next."""

    def __init__(self, name: str, place: Place, layout: str) -> None:
        self.name = name
        self.place = place
        self.uri = place.uri(name)
        self._layout = layout
        self._table: DeltaTable | None = None
        self._is_damaged = False
        self._entry: object = None
        self._files: list[File] | None = None

    @property
    def is_there(self) -> bool:
        """Whether a table is there, whole or not, of whatever layout."""
        self.refresh()
        return self._table is not None or self._is_damaged

    @property
    def is_current(self) -> bool:
        """Whether the table is there, and of this layout."""
        self.refresh()
        return self._current is not None

    @property
    def _current(self) -> DeltaTable | None:
        """The table, where it can be gone on with."""
        is_ours = self._table is not None and self._table.metadata().configuration.get(LAYOUT) == self._layout
        return self._table if is_ours else None

    def refresh(self) -> None:
        self._files, self._is_damaged = None, False
        try:
            if self._table is not None and self._newest_entry() != self._entry:
                self._table = None  # removed, perhaps made again: an update would notice neither
            known = self._table.version() if self._table is not None else None
            if self._table is None:
                self._table = DeltaTable(self.uri, storage_options=dict(self.place.options) or None)
            else:
                self._table.update_incremental()
            if self._table.version() != known:
                self._entry = self._newest_entry()
        except TableNotFoundError:
            self._table = None
        except DeltaError as error:  # what a server or the system says is an OSError
            if _is_of_a_newer_one(error):
                raise
            if not self.place.is_ours:
                raise FolderError(
                    f"delta: {self.uri}/_delta_log is damaged: {_said(self.place, error)}",
                    hint=f"restore it from a backup, or remove {self.uri}: "
                    "each data folder's next run brings its rows back",
                ) from error
            self._table, self._is_damaged = None, True
        if self._table is not None and LAYOUT not in self._table.metadata().configuration:
            raise ConfigError(
                f"delta: the table {self.uri} is not ours",
                hint="name another place in destinations.delta, or move that table away",
            )

    def held(self, source: str) -> int:
        current = self._current
        return (current.transaction_version(_app(current, source)) or 0) if current else 0

    def files(self) -> list[File]:
        if self._files is None:
            current = self._current
            rows = pa.table(current.get_add_actions(flatten=True)).to_pylist() if current else []
            self._files = [_file(row) for row in rows]
        return self._files

    def commit(self, coming: Sequence[File], going: Sequence[File], bookmarks: Mapping[str, int]) -> None:
        if (table := self._current) is None:
            self._make()
            raise CommitFailedError("made just now: who else knows of it may have been first")
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [
            *(AddAction(one.path, one.size, {"created_date": one.date}, now, True, _stats(one)) for one in coming),
            *(RemoveAction(one.path, True, now, one.size, {"created_date": one.date}) for one in going),
        ]
        told = [Transaction(_app(table, source), segment) for source, segment in bookmarks.items()]
        table.create_write_transaction(
            actions,
            "append",
            _schema(self.name),
            ["created_date"],
            # No retry of its own: it would not look at what came in between as we do.
            commit_properties=CommitProperties(app_transactions=told, max_commit_retries=0),
        )
        self._settle()

    def vacuum(self) -> None:
        """Delete what no version of the retention time refers to, a week unless the table says otherwise."""
        table = self._current
        if table and table.vacuum(dry_run=True, full=True):
            table.vacuum(dry_run=False, full=True)
            self._settle()

    def purge(self, sources: Sequence[str]) -> None:
        """Delete every file of some sources that the newest version does not refer to; any where the place is ours."""
        self.refresh()
        kept, prefixes = {file.path for file in self.files()}, {prefix(source) for source in sources}
        old = [path for path in self.place.data_files(self.name) if path not in kept]
        going = [path for path in old if self.place.is_ours or prefix_of(path) in prefixes]
        # Files of other names may be about to be committed, unless a version referred to them before.
        known = self._removed().intersection(old).difference(going)
        going += [path for path in sorted(known) if not sources_in(self, path).isdisjoint(sources)]
        self.place.delete(self.name, going)

    def _removed(self) -> set[str]:
        """Name the files that an older version refers to, and the newest one does not."""
        table = self._current
        return set(table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True) if table else ())

    def dataset(self) -> ds.Dataset:
        """Open the newest version for reading."""
        table = self._current
        if table is None:
            raise ConfigError(f"{self.uri} is not there")
        return table.to_pyarrow_dataset()

    def _make(self) -> None:
        """Make the table, empty; what has another layout is emptied, what is damaged goes."""
        if self._is_damaged:
            self.place.discard(self.name)
            self._is_damaged = False
        self.place.prepare(self.name)
        self._table = DeltaTable.create(
            self.uri,
            _schema(self.name),
            mode="ignore" if self._table is None else "overwrite",
            partition_by=["created_date"],
            name=self.name,
            description=TABLES[self.name].description,
            configuration={LAYOUT: self._layout, "delta.dataSkippingStatsColumns": "source"},
            storage_options=dict(self.place.options) or None,
            raise_if_key_not_exists=False,
        )
        self._settle(since=0)

    def _settle(self, since: int | None = None) -> None:
        """Make the log durable since the version known, and know the newest one."""
        if self._table:
            known = self._table.version() if since is None else since
            self._files = None
            self._table.update_incremental()
            self.place.settle(self.name, known)
            self._entry = self._newest_entry()

    def _newest_entry(self) -> object:
        """Return what the log's newest entry is told by; where there is none, something that equals nothing."""
        return (self._table.history(1) if self._table is not None else None) or object()


class _Staged:
    """What will take the place of a table: files that no version refers to yet."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.place = place
        self.bookmarks: dict[str, int] = {}
        self._files: list[File] = []

    def refresh(self) -> None:
        """Return at once: nobody else knows of it."""

    def held(self, source: str) -> int:
        return self.bookmarks.get(source, 0)

    def files(self) -> list[File]:
        return self._files

    def commit(self, coming: Sequence[File], going: Sequence[File], bookmarks: Mapping[str, int]) -> None:
        self._files = [file for file in self._files if file not in going] + list(coming)
        self.bookmarks |= bookmarks
        self.place.delete(self.name, [file.path for file in going])


def _exchange(table: Store, staged: _Staged) -> _Plan | None:
    """Say what puts the staged files in the place of all files; of their sources, where others write too."""
    coming, going = list(staged.files()), []
    for file in table.files():
        if table.place.is_ours or file.source in staged.bookmarks:
            going.append(file)
        elif file.source is None and sources_in(table, file.path) & staged.bookmarks.keys():
            going.append(file)
            others = (without(rows, staged.bookmarks) for rows in pieces(table, file))
            groups = row_groups(rows for rows in others if rows.num_rows)
            coming += written(table, groups, file.date, min(staged.bookmarks), is_mixed=True)
    known = {file.path for file in going} & {file.path for file in coming}  # the commit was heard, and not its answer
    coming, going = ([file for file in files_ if file.path not in known] for files_ in (coming, going))
    # Where all goes, what is not in the archive any more is not held any more.
    none = dict.fromkeys(sources_of(table), 0) if table.place.is_ours else {}
    bookmarks = {**none, **staged.bookmarks}
    return _Plan(tuple(coming), tuple(going), bookmarks) if coming or going or bookmarks else None


def _app(table: DeltaTable, source: str) -> str:
    """Name a source in the log of a table as it was made last.

    The log keeps app transactions for ever: without the id, which each making gives, those of before would outlive
    their rows, and come true again where the tables get a layout back that they had.
    """
    return f"pipeline/{table.metadata().id}/{source}"


def _file(row: Mapping[str, object]) -> File:
    """Read what a table's log says of a file."""
    first, last = row.get("min.source"), row.get("max.source")
    is_ours = first is not None and first == last and prefix(str(first)) == prefix_of(str(row["path"]))
    source = str(first) if is_ours else None
    rows = row["num_records"]
    size, date = row["size_bytes"], row["partition.created_date"]
    return File(str(row["path"]), int(str(size)), int(str(rows or 0)), str(date), source)


def _stats(file: File) -> str:
    """Say of a file what lets readers pass over it, and nothing of what is in it."""
    told: dict[str, object] = {"numRecords": file.rows}
    if file.source is not None:
        told |= {"minValues": {"source": file.source}, "maxValues": {"source": file.source}, "nullCount": {"source": 0}}
    return json.dumps(told)


def _schema(name: str) -> Schema:
    """Return a table's columns, their sentences where Spark and others look for them."""
    fields = [field.with_metadata({"comment": describe(field)}) for field in TABLES[name].columns]
    return Schema.from_arrow(pa.schema(fields))


# -- the door --------------------------------------------------------------------------------------------------------


def connect(uri: str, options: Mapping[str, str]) -> FileSystem:
    """Open what is behind a URL, by the options that delta-rs takes."""
    return PyFileSystem(DeltaStorageHandler(uri, dict(options)))


@contextlib.contextmanager
def _door(place: Place) -> Iterator[None]:
    """Translate what delta-rs and the system say into an error that says what to do; a bug stays what it is."""
    try:
        with files.explained(place.folder) if place.folder else contextlib.nullcontext():
            yield
    except (CommitFailedError, DeltaError, OSError) as error:
        if isinstance(error, SchemaMismatchError):
            raise
        raise _translate(place, error) from error


def _translate(place: Place, error: Exception) -> PipelineError:
    said = _said(place, error)
    if _is_of_a_newer_one(error):
        return ConfigError(
            f"delta: {place.root} was given features that this version does not know: {said}",
            hint="install a newer deltalake",
        )
    for words, kind, sentence, hint in _MEANINGS:
        if any(one in str(error) for one in words):
            return kind(f"delta: {sentence} {place.root}", hint=hint)
    return TryAgainError(f"delta: {place.root}: {said}", hint="run again; what was committed is intact")


def _is_of_a_newer_one(error: Exception) -> bool:
    """Tell whether a table has features that this deltalake does not know, which a log that is damaged is not."""
    return isinstance(error, DeltaProtocolError) or "Kernel error: Unsupported: " in str(error)


def _said(place: Place, error: Exception) -> str:
    """Return what a library says in one line, without what is for terminals and for who wrote the library."""
    plain = _FRAMES.sub("", _COLOURS.sub("", str(error)))
    line = " ".join(place.hide_in(plain).split())
    return "".join(filter(str.isprintable, line))[:_SAID] or type(error).__name__
