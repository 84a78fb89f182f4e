"""What a loss of power could tear apart: renames and new folders that were not made durable in time."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .trace import Event

#: What tells that something else is there: the file, and the folders (of the data folder) of all that it tells of.
BOOKMARKS = {"ledger.jsonl": ("archive", "blobs"), "manifest.json": ("parquet",)}


class Disk:
    """Follows which bytes and which names are durable, and complains about steps that rely on what is not.

    Paths are those of one data folder; what happens elsewhere is passed over.
    """

    def __init__(self, root: str) -> None:
        self.complaints: list[str] = []
        self._root = PurePosixPath(root)
        self._unsynced: set[PurePosixPath] = set()
        """Files with bytes that are not durable."""
        self._names: dict[PurePosixPath, set[PurePosixPath]] = defaultdict(set)
        """By folder: what was renamed into it, or made there as a folder, since it was synced.

        An exchange of two folders is one rename.
        """
        self.renames = 0

    def see(self, event: Event) -> None:
        """Take one event."""
        path = PurePosixPath(event.path)
        if event.call == "rename" and self._is_ours(PurePosixPath(event.to)):
            self._rename(path, PurePosixPath(event.to))
        elif not self._is_ours(path):
            return
        elif event.call == "write":
            self._unsynced.add(path)
        elif event.call == "sync":
            self._unsynced.discard(path)
            self._names.pop(path, None)
        elif event.call == "make" and path != self._root:  # the folder that holds it is not of the data folder
            self._names[path.parent].add(path)
        elif event.call == "remove":
            self._unsynced.discard(path)
            self._names[path.parent].discard(path)

    def end(self) -> None:
        """Complain about names that were never made durable, and about such bytes of what bookmarks tell of."""
        self.complaints += [f"{name} was not made durable in its folder" for name in self._pending(self._root)]
        for folder in sorted({folder for told in BOOKMARKS.values() for folder in told}):
            within = self._within(self._root / folder)
            self.complaints += [f"{file} has bytes that were not made durable" for file in within]

    def _rename(self, old: PurePosixPath, new: PurePosixPath) -> None:
        self.renames += 1
        for scope in (old, *self._relied_on(new)):
            self.complaints += [f"{new} tells of {name}, whose name is not durable" for name in self._pending(scope)]
            self.complaints += [f"{new} relies on {file}, whose bytes are not durable" for file in self._within(scope)]
        self._unsynced -= set(self._within(old))
        self._names[new.parent].add(new)

    def _relied_on(self, new: PurePosixPath) -> Iterator[PurePosixPath]:
        """Name the folders, or the file, that a bookmark or the snapshot relies on."""
        if new.name in BOOKMARKS:
            yield from (self._root / folder for folder in BOOKMARKS[new.name])
        if new == self._root / "warehouse.duckdb":
            yield self._root / ".writer" / "warehouse.duckdb"
            yield self._root / ".writer" / "warehouse.duckdb.wal"
            yield self._root / ".published"

    def _pending(self, scope: PurePosixPath) -> Iterator[PurePosixPath]:
        yield from (name for names in self._names.values() for name in sorted(names) if name.is_relative_to(scope))

    def _within(self, scope: PurePosixPath) -> Iterator[PurePosixPath]:
        yield from (file for file in sorted(self._unsynced) if file.is_relative_to(scope))

    def _is_ours(self, path: PurePosixPath) -> bool:
        return path.is_relative_to(self._root)


def complaints(events: Iterable[Event], root: str) -> tuple[list[str], int]:
    """Say what a loss of power could tear apart, and how many renames were looked at."""
    disk = Disk(root)
    for event in events:
        disk.see(event)
    disk.end()
    return disk.complaints, disk.renames
