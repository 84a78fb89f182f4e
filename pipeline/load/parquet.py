"""The Parquet dataset: each row in one file of its table, source and date, so that a plain glob sees it at most once.

A load rewrites the files that it touches, each whole, by rename. A completion that moves to another file is taken out
of the old one before it is put into the new one. The manifest comes last: a load that was killed leaves the
bookmark of before, and is loaded again onto files that hold some of it already. While more is about to come, the dates
that it may still come to wait, so that their files are written once.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from pipeline import files
from pipeline.failpoints import reach
from pipeline.load import manifest
from pipeline.load.change import work_out
from pipeline.load.merge import Touch, changes, merge, pieces, row_groups, write
from pipeline.load.parts import FULL_BYTES, divide
from pipeline.schema import TABLES, digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipeline.handoff import Batch
    from pipeline.load.change import Change


#: Table, folder and file; what comes to it; and what of it is spared while others leave it.
_Step: TypeAlias = "tuple[str, str, Path, pa.Table, pa.Array | None]"
#: Arrow bytes of batches that wait for the rest of their dates, at most.
WAITING_BYTES = 48 * 2**20


class ParquetDestination:
    """A hive-partitioned dataset under ``root`` that can be read at any moment."""

    name = "parquet"

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        root: Path,
        scratch: Path,
        *,
        folder_mode: int = files.FOLDER_MODE,
        file_mode: int = files.FILE_MODE,
        logprobs: bool = False,
        full: int = FULL_BYTES,
    ) -> None:
        self._full = full
        self._layout = digest(logprobs=logprobs)
        self._root = root
        self._scratch = scratch
        self._folder_mode = folder_mode
        self._file_mode = file_mode
        self._manifest = manifest.read(root, self._layout)
        self._waiting: list[Batch] = []
        """Of one source; none of it is held yet."""

    @property
    def is_outdated(self) -> bool:
        """Whether what lies there cannot be gone on with: it must be made anew beside, for readers still see it."""
        return manifest.is_untrue(self._root, self._layout)

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment held by source."""
        waiting = {batch.bookmark.source: batch.bookmark.segment for batch in self._waiting}
        return {**self._manifest.bookmarks, **waiting}

    def load(self, batches: Sequence[Batch], *, settle: bool = True) -> None:
        """Merge batches of one source into the files of their dates, then move the bookmark.

        Unsettled, only what reaches no date of the newest batches is merged at once.
        """
        source = batches[0].bookmark.source if batches else None
        if source and self._waiting and self._waiting[0].bookmark.source != source:
            self.settle()
        held = self.bookmarks().get(source, 0) if source else 0
        self._waiting += (batch for batch in batches if batch.bookmark.segment > held)
        self._merge(len(self._waiting) if settle else _whole(self._waiting))

    def settle(self) -> None:
        """Merge what still waits for the rest of its dates."""
        self._merge(len(self._waiting))

    def close(self) -> None:
        """Let go of what was not settled; no file stays open between loads."""
        self._waiting.clear()

    def _merge(self, number: int) -> None:
        """Merge the first of the waiting batches."""
        due, waiting = self._waiting[:number], self._waiting[number:]
        self._waiting = []  # where it fails, nothing unsettled stays
        if change := work_out(due, 0):
            with files.explained(self._root):
                self._prepare()
                self._load(change)
        self._waiting = waiting

    def _load(self, change: Change) -> None:
        source, segment = change.bookmark.source, change.bookmark.segment
        unfinished = {folder for folder in self._manifest.unfinished if folder.startswith(_folder(source, ""))}
        left = {_folder(source, date) for date in change.left} | unfinished
        touched = {_folder(source, date) for date in change.dates}
        begun = self._begin(source, segment, touched)
        for parent in self._named(unfinished):  # a killed load may not have come to give it its mode, or to fsync
            parent.chmod(self._folder_mode)
            files.sync_folder(parent)
        known = {path: one for path, one in self._manifest.files.items() if manifest.folder_of(path) not in unfinished}
        told = {path: one for path, one in known.items() if manifest.folder_of(path) not in left | touched}
        unsynced: set[Path] = set()
        for name, folder, path, new, spared in self._steps(change, left, touched):
            relative = str(path.relative_to(self._root))
            before = told.pop(relative, None) or known.get(relative)
            # What leaves is gone for good before it comes elsewhere: no loss of power may show it twice.
            names = unsynced if spared is None else None
            if file := self._rewrite(path, new, _touch(change, name, folder, spared), before, names):
                told[relative] = file
            reach("parquet.merged")
        for parent in sorted(unsynced):  # at once: after the first the disk has hardly anything left to do
            files.sync_folder(parent)
        reach("parquet.manifest")
        # A load that was killed may have got further than this one: rows of later segments still lie in its folders.
        is_whole = segment >= begun[source]
        still = self._manifest.unfinished - touched - unfinished
        self._tell(
            bookmarks={**self._manifest.bookmarks, source: segment},
            unfinished=still if is_whole else still | unfinished,
            begun={one: last for one, last in begun.items() if one != source or not is_whole} or UNSET,
            files=told,
        )

    def _begin(self, source: str, segment: int, touched: set[str]) -> dict[str, int]:
        """Say in the manifest what is about to be written; return the last segments of loads that were begun."""
        before = self._manifest.begun or {}
        begun = {**before, source: max(segment, before.get(source, 0))}
        if begun != before or not touched <= self._manifest.unfinished:
            self._tell(unfinished=self._manifest.unfinished | touched, begun=begun)
        return begun

    def _steps(self, change: Change, left: set[str], touched: set[str]) -> Iterator[_Step]:
        """Say which file gets which new rows: in each table first what leaves a file, then what comes to one.

        What leaves spares the identities that come to the same file: readers must not miss them in between.
        """
        for name, rows in change.rows.items():
            coming = dict(_by_folder(rows, change.bookmark.source))
            nothing = rows.slice(0, 0).drop_columns(["source", "created_date"])
            folders = sorted(left | touched)
            parts = {
                folder: divide(self._root / name / folder, coming.get(folder, nothing), self._full)
                for folder in folders
            }
            for folder in sorted(left):
                for path, new in parts[folder]:
                    yield name, folder, path, nothing, new[TABLES[name].identity].combine_chunks()
            for folder in sorted(touched):
                for path, new in parts[folder]:
                    yield name, folder, path, new, None

    def _named(self, folders: set[str]) -> list[Path]:
        """Return these folders of every table, as far as they are there, and all that lie above them in the dataset."""
        there = [path for name in TABLES for folder in folders if (path := self._root / name / folder).is_dir()]
        above = {parent for path in there for parent in path.parents if parent.is_relative_to(self._root)}
        return sorted({*there, *above})

    def _rewrite(
        self, path: Path, new: pa.Table, touch: Touch, before: manifest.File | None, unsynced: set[Path] | None
    ) -> manifest.File | None:
        """Make one file right; say what it is, if it still is there, which is as ``before`` where nothing changes.

        Its name is durable then, or its folder is in ``unsynced``.
        """
        if not new.num_rows and not changes(path, touch):
            return (before or manifest.describe(path)) if path.exists() else None
        groups = row_groups(merge(pieces(path), new, touch))
        if (first := next(groups, None)) is None:
            path.unlink()
            files.sync_folder(path.parent)
            return None
        self._make_folder(path.parent, unsynced)
        with files.replacing(path, scratch=self._scratch, mode=self._file_mode, unsynced=unsynced) as temp:
            rows = write(first, groups, temp)
        return manifest.describe(path, rows)

    def _tell(self, **changed: object) -> None:
        """Replace the manifest; what is remembered of it is what was written."""
        told = msgspec.structs.replace(self._manifest, **{"schema": self._layout, **changed})
        manifest.write(told, self._root, scratch=self._scratch, mode=self._file_mode)
        self._manifest = told

    def _prepare(self) -> None:
        """Make the root, with today's modes; where nothing is held, nothing that lies there is kept."""
        self._make_folder(self._root)
        if self._root.stat().st_mode & 0o777 != self._folder_mode:
            self._change_modes()
        if not self._manifest.bookmarks and not self._manifest.unfinished:
            for path in manifest.data_files(self._root):
                path.unlink()

    def _change_modes(self) -> None:
        """Give all that was written under another ``share`` setting today's modes; the root last, so it is redone."""
        for path in self._root.rglob("*"):
            path.chmod(self._folder_mode if path.is_dir() else self._file_mode)
        self._root.chmod(self._folder_mode)

    def _make_folder(self, path: Path, unsynced: set[Path] | None = None) -> None:
        """Make a folder of the dataset, and those above it, with the dataset's mode."""
        if not path.is_dir():
            if path != self._root:
                self._make_folder(path.parent, unsynced)
            files.make_folder(path, unsynced=unsynced).chmod(self._folder_mode)


def _whole(batches: Sequence[Batch]) -> int:
    """Count the batches behind which only dates come that more may come to: those of the last two.

    A first export walks from both ends, and archives what they bring in turn.
    """
    if sum(batch.nbytes for batch in batches) > WAITING_BYTES:
        return len(batches)
    dates = [frozenset(batch.tables["completions"]["created_date"].unique().to_pylist()) for batch in batches]
    growing = frozenset[dt.date]().union(*dates[-2:])
    return max((number for number, some in enumerate(dates, 1) if not some <= growing), default=0)


def _touch(change: Change, name: str, folder: str, spared: pa.Array | None) -> Touch:
    """Say what a load does to the older rows of one file."""
    updates = change.updates.get(name)
    if updates is not None:
        date = dt.date.fromisoformat(folder.rpartition("=")[2])
        updates = updates.filter(pc.equal(updates["created_date"], pa.scalar(date, pa.date32())))
    return Touch(
        TABLES[name],
        change.replaces[name],
        change.segments,
        updates if updates is not None and updates.num_rows else None,
        spared,
    )


def _by_folder(rows: pa.Table, source: str) -> Iterator[tuple[str, pa.Table]]:
    """Cut rows that are sorted by date into one table per folder; the folder's name tells source and date."""
    start = 0
    for count in rows["created_date"].value_counts():
        date, number = count["values"].as_py(), count["counts"].as_py()
        yield _folder(source, date), rows.slice(start, number).drop_columns(["source", "created_date"])
        start += number


def _folder(source: str, date: dt.date | str) -> str:
    return f"source={quote(source, safe='')}/created_date={date}"
