"""Which completions were forgotten: of each only the hash of its id stays, so that it is never taken in again.

A tombstone is ``pending`` until no segment holds the id any more; until then each reader of the archive passes it over.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from pipeline import files
from pipeline.errors import FolderError
from pipeline.seal import Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

NAME = "forgotten.json"


class Tombstones(Sealed, frozen=True):
    """What was forgotten of one source, by the SHA-256 of ids, in hex."""

    pending: frozenset[str] = frozenset()
    """Segments may still hold them: an interrupted forgetting is finished by the next run."""
    done: frozenset[str] = frozenset()

    @property
    def are_there(self) -> bool:
        """Whether anything was forgotten."""
        return bool(self.pending or self.done)

    def cover(self, id_: str) -> bool:
        """Tell whether a completion was forgotten."""
        return self.are_there and (digest(id_) in self.pending or digest(id_) in self.done)

    def adding(self, digests: Iterable[str]) -> Tombstones:
        """Return these and more, pending."""
        return Tombstones(self.pending.union(digests), self.done)

    def settled(self) -> Tombstones:
        """Return these with nothing pending."""
        return Tombstones(frozenset(), self.done | self.pending)

    def unsettled(self) -> Tombstones:
        """Return these with everything pending: a segment of before came back from a backup."""
        return Tombstones(self.done | self.pending)

    def kept(self, ids: pa.ChunkedArray) -> list[bool]:
        """Tell of each id whether no pending tombstone covers it."""
        return [digest(id_) not in self.pending for id_ in ids.to_pylist()]


def digest(id_: str) -> str:
    """Hash an id; ids are random, so the hash tells nobody who does not know the id already."""
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()


def read(folder: Path) -> Tombstones:
    """Return what was forgotten; nothing where there is no file. Raises FolderError for one that is damaged."""
    path = folder / NAME
    try:
        return parse(path.read_bytes(), path)
    except FileNotFoundError:
        return Tombstones()


def parse(text: bytes, path: Path | str) -> Tombstones:
    """Return what the file says; ``path`` is for errors. Raises FolderError where it is damaged."""
    try:
        return unseal(text, Tombstones)
    except msgspec.MsgspecError as error:
        raise FolderError(
            f"{path} is damaged: {error}",
            hint="restore it from a backup: without it, what was forgotten would be taken in again",
        ) from error


def write(folder: Path, tombstones: Tombstones, *, scratch: Path) -> None:
    """Replace the tombstones; durable when this returns."""
    path = files.make_folder(folder) / NAME
    with files.explained(path):
        files.write_whole(path, seal(tombstones), scratch=scratch)
