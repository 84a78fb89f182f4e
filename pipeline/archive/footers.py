"""What segments say of themselves, remembered, so that a night need not open every file of the archive again.

Derived, and thrown away by whoever doubts it: a footer is believed only while its file is the very one that was read,
by size, times and inode; and ``verify`` reads every file. Written when much was read anew, so that a night writes
nothing, and reads few.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from pipeline import files
from pipeline.seal import Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Footers read anew that are worth writing them all down.
ENOUGH = 64

#: Size, times of change in nanoseconds and inode of a file.
_File = tuple[int, int, int, int]


class _Remembered(Sealed, frozen=True):
    """What was read of the segments of one source: number, of which file, and the footer as it stands there."""

    footers: tuple[tuple[int, _File, str], ...] = ()


class Memory:
    """Footers of one source, remembered in a file that is the writer's own; without a ``path`` nothing is."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        remembered = _Remembered() if path is None else _read(path)
        self._known = {number: (file, footer) for number, file, footer in remembered.footers}
        self._read: dict[int, tuple[_File, str]] = {}

    def text(self, number: int, path: Path, read: Callable[[Path], bytes]) -> bytes:
        """Return the footer of a segment's file, by ``read`` where it is not known; raises what that raises."""
        if self._path is None:
            return read(path)
        file = _file(path)
        known, footer = self._known.get(number, (None, ""))
        if known != file:
            footer = read(path).decode()
            self._read[number] = file, footer
        return footer.encode()

    def keep(self, *, scratch: Path) -> None:
        """Write down what was read, where it is enough; only the writer may. What cannot be written is read again."""
        if self._path is not None and len(self._read) >= ENOUGH:
            self._known |= self._read
            self._read = {}
            with contextlib.suppress(OSError):
                files.make_folder(self._path.parent)
                remembered = _Remembered(footers=tuple((number, *told) for number, told in self._known.items()))
                files.write_whole(self._path, seal(remembered), scratch=scratch)


def _read(path: Path) -> _Remembered:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return unseal(path.read_bytes(), _Remembered)
    return _Remembered()


def _file(path: Path) -> _File:
    told = path.stat()
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino
