"""The archive's copy elsewhere: pushed after runs, pulled where a machine was lost, and read by engines on the way.

    segments/<source>/00000001-<sha256>.parquet
    blobs/<sha256>
    heads/00000001.json                             what belongs together: every entry, every tombstone, every blob

An object store knows no rename, no fsync and no lock. So objects are named by what is in them and never change, and
one more head, put on condition that there is none of its number, makes them the archive: whoever is killed before it
left objects that nothing names. Of two who push at once one is told no, and looks again. A push whose archive does not
go on from what the newest head says of its sources is refused: two machines that both think they are the one cannot
lose each other's rows. Sources that others pushed stay as they are: one place collects the archives of many machines.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pipeline import assemble, files, forget, rebuild
from pipeline.archive import ledger, segments, tombstones
from pipeline.archive.check import references
from pipeline.archive.ledger import Entry  # noqa: TC001 - msgspec reads it
from pipeline.archive.tombstones import Tombstones  # noqa: TC001 - msgspec reads it
from pipeline.errors import CheckFailedError, FolderError, TryAgainError
from pipeline.failpoints import reach
from pipeline.folder import DataFolder, owned
from pipeline.objects import place
from pipeline.result import Copied
from pipeline.seal import Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.archive.segments import Archive
    from pipeline.config import Config
    from pipeline.objects import Place

T = TypeVar("T")

FORMAT = 1
_SEGMENTS, _BLOBS = "segments/", "blobs/"
#: A head comes from elsewhere: what it names must not lead out of the archive.
_NAME, _SHA256 = re.compile(r"[\w-]+", re.ASCII), re.compile(r"[0-9a-f]{64}")
_HEADS = "heads/"
#: Older heads that stay: somebody who read one of them and comes late finds its number taken, and is told no.
_KEPT = 10
#: How often a push looks again where others push to the same place at the same time.
_LOOKS = 20
#: Objects under way at once: each is in memory whole.
_AT_ONCE = 4


class Shelf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The archive of one source."""

    entries: tuple[Entry, ...]
    forgotten: Tombstones
    blobs: tuple[str, ...]
    """Those that its segments refer to."""


class Head(Sealed, frozen=True):
    """What was pushed: all of it, and nothing else, is the archive."""

    number: int
    pushed_at: str
    pushed_from: str
    """The host's name; information only."""
    sources: dict[str, Shelf]
    format: int = FORMAT

    def segments(self) -> dict[str, Entry]:
        """Return every segment by the name of its object."""
        every = ((source, entry) for source, shelf in self.sources.items() for entry in shelf.entries)
        return {_name(source, entry): entry for source, entry in every if not entry.is_lost}

    def blobs(self) -> set[str]:
        """Return the SHA-256 of every blob."""
        return {sha256 for shelf in self.sources.values() for sha256 in shelf.blobs}

    def objects(self) -> set[str]:
        """Name every object that belongs to it."""
        return {*self.segments(), *map(_blob, self.blobs())}


def push(config: Config, url: str) -> Copied:
    """Copy what is new in the archive to a place, read it back, and make it the newest there.

    Raises FolderError where the archive does not go on from what is there, or is not whole, and CheckFailedError for a
    segment that is not what was written.
    """
    folder = DataFolder(config.data)
    folder.insist()
    with owned(folder, share=config.share == "group"):
        archives = forget.open_all(folder)
        forget.finish(config, folder, archives)
        rebuild.insist_on_whole(archives, config, folder)
        ours = {archive.source: _shelf(archive) for archive in archives}
        return _Push(folder, place(url), ours).made()


class _Push:
    """One push, which may have to look several times."""

    def __init__(self, folder: DataFolder, there: Place, ours: Mapping[str, Shelf]) -> None:
        self._folder = folder
        self._there = there
        self._ours = ours
        self._copied: dict[str, int] = {}
        """Bytes by the name of what was copied."""

    def made(self) -> Copied:
        """Copy what is lacking, and make a head of it; where somebody else made one meanwhile, look again."""
        for _ in range(_LOOKS):
            before = _newest(self._there)
            held = {source: shelf for source, shelf in before.sources.items() if source in self._ours} if before else {}
            here = f"the archive in {self._folder.root}"
            _insist_on_descent(held, self._ours, f"what lies at {self._there}", here)
            if before and held == self._ours:
                return self._told(before)
            head = _following(before, self._ours)
            old = before.objects() if before else set()
            self._copy(sorted(head.objects() - old - self._copied.keys()), head.segments())
            reach("remote.copied")
            if self._there.put_new(_head(head.number), seal(head)):
                reach("remote.headed")
                return self._told(head, removed=self._remove(sorted(old - head.objects())))
        raise TryAgainError(f"others push to {self._there} all the time", hint="push again")

    def _copy(self, names: list[str], entries: Mapping[str, Entry]) -> None:
        def copy(name: str) -> int:
            path = _path(self._folder, name, entries.get(name))
            content = path.read_bytes()
            _insist_on_hash(content, name, str(path), "restore it from a backup, or pull it from where it was pushed")
            self._there.put(name, content)
            reach("remote.put")
            hint = "push again; if that does not help, use another place"
            _insist_on_hash(self._there.read(name), name, self._there.url(name), hint)
            return len(content)

        for name, size in zip(names, _side_by_side(copy, names), strict=True):
            self._copied[name] = size

    def _remove(self, superseded: list[str]) -> int:
        """Remove what holds something forgotten, and heads of long ago; return how many of the former."""
        for name in (*superseded, *self._there.names(_HEADS)[:-_KEPT]):
            self._there.remove(name)
        return len(superseded)

    def _told(self, head: Head, removed: int = 0) -> Copied:
        blobs = sum(name.startswith(_BLOBS) for name in self._copied)
        segments = len(self._copied) - blobs
        size = sum(self._copied.values())
        return Copied(str(self._there), head.number, segments, blobs, size, len(head.segments()), removed)


def pull(config: Config, url: str) -> Copied:
    """Make the archive in the data folder what the newest head at a place says; what is there and whole stays.

    Sources that were not pushed there are left alone. Raises FolderError where nothing was pushed there, or where the
    folder holds what is not there; CheckFailedError for an object that is not what was pushed.
    """
    folder, there = DataFolder(config.data), place(url)
    head = _insist_on_head(there)
    with owned(folder, share=config.share == "group"):
        held = {source: _lying(folder, source) for source in segments.sources(folder.archive) if source in head.sources}
        _insist_on_descent(held, head.sources, f"the archive in {folder.root}", f"what lies at {there}")
        for source, shelf in head.sources.items():
            _obey(folder, source, shelf.forgotten)
        sizes = list(_pull_blobs(folder, there, head))
        counts = [list(_pull_source(folder, there, source, shelf)) for source, shelf in head.sources.items()]
        assemble.blobs(folder).take_note_away()
        forget.finish(config, folder, forget.open_all(folder))
        size = sum(sizes) + sum(map(sum, counts))
        return Copied(str(there), head.number, sum(map(len, counts)), len(sizes), size, len(head.segments()))


def _lying(folder: DataFolder, source: str) -> Shelf:
    """Describe what lies in the folder, damaged or not; a segment that a killed run did not enter counts."""
    place_here = folder.archive / source
    entries = ledger.readable(place_here)
    for number, path in segments.files_in(place_here):
        if number not in entries:
            entries[number] = ledger.entry(path, number, 0)
    return Shelf(tuple(entries.values()), tombstones.read(place_here), ())


def _obey(folder: DataFolder, source: str, told: Tombstones) -> None:
    """Let what was forgotten elsewhere be forgotten here: pending, until segments and destinations are without it."""
    place_here = folder.archive / source
    here = tombstones.read(place_here)
    if new := told.done - here.done:
        tombstones.write(place_here, here.adding(new), scratch=folder.scratch)


def _pull_blobs(folder: DataFolder, there: Place, head: Head) -> Iterator[int]:
    """Copy the blobs that are not there or not whole; they come before the segments that refer to them."""
    held = assemble.blobs(folder)
    wanted = [sha256 for sha256 in sorted(head.blobs()) if not _is_whole(held.path(bytes.fromhex(sha256)), sha256)]
    for sha256, content in zip(wanted, _contents(there, list(map(_blob, wanted))), strict=True):
        digest = bytes.fromhex(sha256)
        held.path(digest).unlink(missing_ok=True)
        held.put(digest, content)
        yield len(content)


def _pull_source(folder: DataFolder, there: Place, source: str, shelf: Shelf) -> Iterator[int]:
    """Copy the segments that are not there or not whole, in order, and then the ledger: killed, some are lacking."""
    place_here = files.make_folder(folder.archive / source)
    here = {entry.number: place_here / segments.file_name(entry.number) for entry in shelf.entries}
    wanted = [entry for entry in shelf.entries if not (entry.is_lost or _is_whole(here[entry.number], entry.sha256))]
    for entry, content in zip(wanted, _contents(there, [_name(source, entry) for entry in wanted]), strict=True):
        with files.explained(here[entry.number]):
            files.write_whole(here[entry.number], content, scratch=folder.scratch)
        reach("remote.pulled")
        yield len(content)
    ledger.write(place_here, {entry.number: entry for entry in shelf.entries}, scratch=folder.scratch)


def segment_urls(url: str) -> Iterator[str]:
    """Name every segment that belongs to the newest head at a place: what Spark and others read there."""
    there = place(url)
    yield from map(there.url, _insist_on_head(there).segments())


# -- what is where ----------------------------------------------------------------------------------------------------


def _following(before: Head | None, ours: Mapping[str, Shelf]) -> Head:
    return Head(
        number=before.number + 1 if before else 1,
        pushed_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        pushed_from=socket.gethostname(),
        sources={**(before.sources if before else {}), **ours},
    )


def _shelf(archive: Archive) -> Shelf:
    """Describe the archive of a source; without the seals of its files, for the head has its own."""
    entries = (msgspec.structs.replace(archive.entries[number], seal="") for number in sorted(archive.entries))
    blobs = tuple(sorted(digest.hex() for digest in references(archive)))
    return Shelf(tuple(entries), msgspec.structs.replace(archive.tombstones, seal=""), blobs)


def _newest(there: Place) -> Head | None:
    """Read the newest head; None where nothing was pushed yet."""
    names = there.names(_HEADS)
    content = there.read(names[-1]) if names else None
    if content is None:
        return None
    where = there.url(names[-1])
    try:
        head = unseal(content, Head)
    except msgspec.MsgspecError as error:
        raise FolderError(
            f"{where} is damaged, or of a newer version: {error}", hint="look at it; the head before it still is whole"
        ) from error
    hashes = {*head.blobs(), *(entry.sha256 for entry in head.segments().values())}
    if not (all(map(_NAME.fullmatch, head.sources)) and all(map(_SHA256.fullmatch, hashes))):
        raise FolderError(f"{where} names what is no part of an archive", hint="somebody else wrote it: look at it")
    if head.format != FORMAT or _head(head.number) != names[-1]:
        raise FolderError(f"{where} is not what its name says", hint="look at it, and take it away")
    return head


def _insist_on_head(there: Place) -> Head:
    if head := _newest(there):
        return head
    raise FolderError(
        f"no archive was pushed to {there}", hint="look at the URL; `pipeline archive push URL` makes one"
    )


def _insist_on_descent(older: Mapping[str, Shelf], newer: Mapping[str, Shelf], one: str, other: str) -> None:
    """Raise FolderError where what is to be replaced is no earlier state of what takes its place.

    A segment goes on from another if it is the same, or both came of the same one by forgetting.
    """
    for source, shelf in older.items():
        after = newer[source]
        known = {entry.number: {entry.sha256, *entry.replaces} for entry in after.entries if not entry.is_lost}
        for entry in shelf.entries:
            if not (entry.is_lost or known.get(entry.number, set()) & {entry.sha256, *entry.replaces}):
                raise FolderError(
                    f"segment {entry.number} of {source}: {one} has it, and {other} does not go on from it",
                    hint="they are two archives, or one of them lost something: use another place, or another folder",
                )
        if (shelf.forgotten.done | shelf.forgotten.pending) - after.forgotten.done:
            raise FolderError(
                f"{source}: {one} forgot completions that {other} may hold",
                hint="forget them there too (`pipeline forget`), then try again",
            )


def _insist_on_hash(content: bytes | None, name: str, where: str, hint: str) -> None:
    if content is None:
        raise CheckFailedError(f"{where} is not there", hint=hint)
    if hashlib.sha256(content).hexdigest() != _sha256(name):
        raise CheckFailedError(f"{where} is not what was written: its SHA-256 differs", hint=hint)


def _contents(there: Place, names: list[str]) -> Iterator[bytes]:
    """Read objects, in order, each compared with its name."""

    def read(name: str) -> bytes:
        content = there.read(name)
        _insist_on_hash(content, name, there.url(name), "if somebody pushed meanwhile, pull again; else push it again")
        return content or b""

    yield from _side_by_side(read, names)


def _side_by_side(work: Callable[[str], T], names: list[str]) -> Iterator[T]:
    """Do the work for a few names at a time, in order: memory holds no more than those."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(names), _AT_ONCE):
            yield from pool.map(work, names[start : start + _AT_ONCE])


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and ledger.sha256_of(path) == sha256


def _path(folder: DataFolder, name: str, entry: Entry | None) -> Path:
    """Return where an object comes from: the blob, or the segment of an entry."""
    if entry is None:
        return assemble.blobs(folder).path(bytes.fromhex(_sha256(name)))
    return folder.archive / name.split("/")[1] / segments.file_name(entry.number)


def _name(source: str, entry: Entry) -> str:
    return f"{_SEGMENTS}{source}/{entry.number:08d}-{entry.sha256}.parquet"


def _blob(sha256: str) -> str:
    return f"{_BLOBS}{sha256}"


def _head(number: int) -> str:
    return f"{_HEADS}{number:08d}.json"


def _sha256(name: str) -> str:
    return name.rpartition("/")[2].rpartition("-")[2].removesuffix(".parquet")
