"""Large binary content, written once each and named by its SHA-256: ``blobs/ab/abcdef…``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.archive import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs of a data folder, of all its sources."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch

    def path(self, digest: bytes) -> Path:
        """Name the file of a blob."""
        name = digest.hex()
        return self._root / name[:2] / name

    def put(self, digest: bytes, content: bytes) -> None:
        """Keep a blob, whole or not at all; one that is there already is not written again. Durable on return."""
        path = self.path(digest)
        if path.exists() and path.stat().st_size == len(content):
            return
        files.make_folder(path.parent)
        with files.explained(path):
            files.write_whole(path, content, scratch=self._scratch)

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
