"""Large binary content, written once each and named by its SHA-256: ``blobs/ab/abcdef…``.

A blob is there before the segment that refers to it. A note beside the temp files says that some may be there without
one: whoever is killed leaves it, and the next run removes what no segment refers to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.archive import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")
_NOTE = "blobs-are-coming"


class Blobs:
    """The blobs of a data folder, of all its sources."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._note = scratch / _NOTE
        self._has_noted = False

    @property
    def are_coming(self) -> bool:
        """Whether blobs may be there that no segment refers to."""
        return self._note.exists()

    def path(self, digest: bytes) -> Path:
        """Name the file of a blob."""
        name = digest.hex()
        return self._root / name[:2] / name

    def put(self, digest: bytes, content: bytes) -> None:
        """Keep a blob, whole or not at all; one that is there already is not written again. Durable on return."""
        path = self.path(digest)
        if path.exists() and path.stat().st_size == len(content):
            return
        with files.explained(path):
            files.make_folder(path.parent)
            self._leave_note()
            files.write_whole(path, content, scratch=self._scratch)

    def _leave_note(self) -> None:
        """Note that blobs are coming, durably; a note that somebody else left is for the next run."""
        if not self.are_coming:
            files.make_folder(self._scratch)
            self._note.touch(files.FILE_MODE)
            files.sync_folder(self._scratch)
            self._has_noted = True

    def have_come(self) -> None:
        """Take the note back: a segment refers to every blob that was put since it was made."""
        if self._has_noted:
            self.take_note_away()

    def take_note_away(self) -> None:
        """Take away whoever's note: nothing is there that no segment refers to."""
        self._note.unlink(missing_ok=True)
        self._has_noted = False

    def read(self, digest: bytes) -> bytes:
        """Return the bytes of a blob; raises FileNotFoundError."""
        return self.path(digest).read_bytes()

    def digests(self) -> Iterator[bytes]:
        """Yield every blob that is there."""
        for path in sorted(self._root.glob("??/*")):
            if _NAME.fullmatch(path.name):
                yield bytes.fromhex(path.name)

    def strangers(self) -> Iterator[Path]:
        """Yield the files that are no blobs."""
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and not (_NAME.fullmatch(path.name) and path == self.path(bytes.fromhex(path.name))):
                yield path

    def is_whole(self, digest: bytes) -> bool:
        """Tell whether a blob still is what its name says."""
        return ledger.sha256_of(self.path(digest)) == digest.hex()

    def remove(self, digest: bytes) -> None:
        """Remove a blob that nothing refers to."""
        self.path(digest).unlink(missing_ok=True)
        files.sync_folder(self.path(digest).parent)
