"""The archive recomputed from its own bodies, streaming: files against the ledger, rows against their hashes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pipeline.archive import ledger, segments, tombstones
from pipeline.archive.segments import UNREADABLE, Archive, recomputed
from pipeline.errors import FolderError
from pipeline.result import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.archive.blobs import Blobs

RESTORE = "restore it from a backup: the archive cannot be derived again"
LEDGER = "pipeline rebuild ledger"
BLOBS = "pipeline rebuild blobs"


def check(folder: Path, source: str, blobs: Blobs, *, scratch: Path) -> Iterator[Problem]:
    """Yield everything wrong with the archive of one source; nothing means that all of it is as it was written."""
    yield from _files(folder / source)
    try:
        tombstones.read(folder / source)
    except FolderError as error:
        yield Problem("forgotten-damaged", str(folder / source / tombstones.NAME), error.message, RESTORE)
        return
    try:
        archive = Archive(folder, source, scratch=scratch)
    except FolderError as error:
        yield Problem("archive-unreadable", source, error.message, error.hint)
        return
    if any(entry.replaces for entry in archive.entries.values()) and not archive.tombstones.are_there:
        where = str(folder / source / tombstones.NAME)
        yield Problem("forgotten-missing", where, "segments were rewritten to forget completions", RESTORE)
    for footer in archive.footers:
        yield from check_rows(archive, footer.number, blobs)


def _files(folder: Path) -> Iterator[Problem]:
    """Compare the files that are there with the ledger."""
    try:
        entered = ledger.read(folder)
    except FolderError as error:
        yield Problem("ledger-damaged", str(folder / ledger.NAME), error.message, LEDGER)
        return
    there = dict(segments.files_in(folder))
    if there and not entered:
        yield Problem("ledger-missing", str(folder / ledger.NAME), "there are segments and no ledger", LEDGER)
        return
    for number in sorted(entered.keys() | there.keys() | set(range(1, max(there, default=0)))):
        yield from _file(folder, there.get(number), entered.get(number), number)
    ours = {*there.values(), folder / ledger.NAME, folder / tombstones.NAME}
    for path in sorted(set(folder.iterdir()) - ours):
        yield Problem("archive-extra", str(path), "is no file of the archive", "look at it, and take it away")


def _file(folder: Path, path: Path | None, entry: ledger.Entry | None, number: int) -> Iterator[Problem]:
    if path is None and entry is not None and entry.is_lost:
        return
    if path is None:
        missing = str(folder / segments.file_name(number))
        yield Problem("segment-missing", missing, f"segment {number} is not there", RESTORE)
    elif entry is None:
        yield Problem("segment-not-entered", str(path), "is not in the ledger", LEDGER)
    elif (found := ledger.sha256_of(path)) != entry.sha256 and found not in entry.replaces:
        yield Problem("segment-damaged", str(path), "is not what was written: its SHA-256 differs", RESTORE)


def check_rows(archive: Archive, number: int, blobs: Blobs) -> Iterator[Problem]:
    """Recompute a segment from its bodies."""
    path = archive.path(number)
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows == 0:
                return
        table = archive.columns(number)
    except (*UNREADABLE, FolderError) as error:
        yield Problem("segment-damaged", str(path), f"cannot be read: {error}", RESTORE)
        return
    bodies = zip(table["id"].to_pylist(), table["content_hash"].to_pylist(), table["body"].to_pylist(), strict=True)
    wrong = [id_ for id_, content_hash, body in bodies if hashlib.sha256(body).digest() != content_hash]
    if wrong:
        yield Problem("segment-damaged", str(path), f"bodies do not fit their hashes: {_few(wrong)}", RESTORE)
    forgotten = [id_ for id_ in archive.raw_ids(number) if archive.tombstones.cover(id_)]
    if forgotten:
        yield Problem(
            "forgotten-held",
            str(path),
            f"holds {len(forgotten)} ids that are forgotten",
            "pipeline run" if archive.tombstones.pending else LEDGER,
        )
    elif recomputed(table, archive.footer(number)) != archive.footer(number):
        yield Problem("segment-damaged", str(path), "its footer does not fit its rows", RESTORE)
    for digest in table["blobs"].combine_chunks().flatten().unique().to_pylist():
        if not blobs.path(digest).exists():
            yield Problem("blob-missing", str(blobs.path(digest)), f"{path} refers to it", RESTORE)


def _few(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")  # noqa: PLR2004 - the same 3


def references(archive: Archive) -> set[bytes]:
    """Return every blob that the archive of a source refers to."""
    found: set[bytes] = set()
    for footer in archive.footers:
        found.update(archive.columns(footer.number, ["blobs"])["blobs"].combine_chunks().flatten().to_pylist())
    return found


def check_blobs(blobs: Blobs, referred: set[bytes]) -> Iterator[Problem]:
    """Hash every blob again, and name those that nothing refers to."""
    for path in blobs.strangers():
        yield Problem("blob-extra", str(path), "is no blob", "look at it, and take it away")
    for digest in blobs.digests():
        if digest not in referred:
            yield Problem("blob-extra", str(blobs.path(digest)), "nothing refers to it", BLOBS)
        elif not blobs.is_whole(digest):
            yield Problem("blob-damaged", str(blobs.path(digest)), "is not what was written", RESTORE)
