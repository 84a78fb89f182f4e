"""The ledger of a source: each segment's number, hash and rows, and what it replaced; `verify` goes by it.

The archive is true without it: a segment that a killed run wrote and did not enter is entered by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import msgspec

from pipeline import files
from pipeline.errors import FolderError
from pipeline.seal import Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "ledger.jsonl"


class Entry(Sealed, frozen=True):
    """One segment, as it was written."""

    number: int
    sha256: str
    bytes: int
    rows: int
    replaces: tuple[str, ...] = ()
    """Hashes of the files that stood under this number before: only forgetting replaces one."""
    is_lost: bool = False
    """Whether the segment is gone, without a backup, and its owner said so."""


def read(folder: Path) -> dict[int, Entry]:
    """Return the entries by number; none where there is no ledger yet. Raises FolderError for one that is damaged."""
    path = folder / NAME
    try:
        return parse(path.read_bytes(), path)
    except FileNotFoundError:
        return {}


def parse(text: bytes, path: Path | str) -> dict[int, Entry]:
    """Return the entries that the file holds; ``path`` is for errors. Raises FolderError where it is damaged."""
    try:
        entries = [unseal(line, Entry) for line in text.splitlines()]
    except msgspec.MsgspecError as error:
        raise FolderError(
            f"{path} is damaged: {error}",
            hint="`pipeline rebuild ledger` checks every segment and writes it anew",
        ) from error
    return {entry.number: entry for entry in entries}


def readable(folder: Path) -> dict[int, Entry]:
    """Return the entries of a ledger that may be damaged whose own seals hold."""
    path = folder / NAME
    found = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(msgspec.MsgspecError):
            entry = unseal(line, Entry)
            found[entry.number] = entry
    return found


def write(folder: Path, entries: Mapping[int, Entry], *, scratch: Path) -> None:
    """Replace the ledger, whole."""
    path = folder / NAME
    lines = [seal(entries[number]) + b"\n" for number in sorted(entries)]
    with files.explained(path):
        files.write_whole(path, b"".join(lines), scratch=scratch)


def lost(number: int) -> Entry:
    """Describe a segment that is lost."""
    return Entry(number, "", 0, 0, is_lost=True)


def entry(path: Path, number: int, rows: int, replaces: tuple[str, ...] = ()) -> Entry:
    """Describe a segment by what lies there."""
    return Entry(number, sha256_of(path), path.stat().st_size, rows, replaces)


def sha256_of(path: Path) -> str:
    """Hash a file, streaming."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
