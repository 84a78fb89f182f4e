"""The archive's copy elsewhere: pushed after runs, pulled where a machine was lost, and read by engines on the way.

    segments/<source>/00000001-<sha256>.parquet
    blobs/<source>/<sha256>
    heads/00000001.json                             what belongs together: every entry, every tombstone, every blob

An object store knows no rename, no fsync and no lock. So objects are named by what is in them and never change, and
one more head, put on condition that there is none of its number, makes them the archive: whoever is killed before it
left objects that nothing names. Of two who push at once one is told no; whatever it was told, a push is done when the
newest head says what it has to say. A push whose archive does not go on from what the newest head says of its sources
is refused: two machines that both think they are the one cannot lose each other's rows. Sources that others pushed stay
as they are, and share no object with ours: one place collects the archives of many machines.
"""

from __future__ import annotations

import contextlib
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
from pipeline.archive.segments import Archive
from pipeline.archive.tombstones import Tombstones  # noqa: TC001 - msgspec reads it
from pipeline.errors import CheckFailedError, FolderError, TryAgainError, UsageError
from pipeline.failpoints import reach
from pipeline.folder import DataFolder, owned
from pipeline.objects import Folder, place
from pipeline.result import Copied
from pipeline.seal import Sealed, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.config import Config
    from pipeline.objects import Found, Place

T = TypeVar("T")

FORMAT = 1
_SEGMENTS, _BLOBS = "segments/", "blobs/"
#: A head comes from elsewhere: what it names must not lead out of the archive.
_NAME, _SHA256 = re.compile(r"[\w-]+", re.ASCII), re.compile(r"[0-9a-f]{64}")
_HEADS = "heads/"
#: Older heads that stay: somebody who read one of them and comes late finds its number taken, and is told no.
_KEPT = 10
#: Seconds after which nobody is still pushing what no head ever named.
_LEFT = 24 * 3600
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

    def blobs(self) -> dict[str, str]:
        """Return the SHA-256 of every blob by the name of its object."""
        every = ((source, sha256) for source, shelf in self.sources.items() for sha256 in shelf.blobs)
        return {_blob(source, sha256): sha256 for source, sha256 in every}

    def objects(self) -> set[str]:
        """Name every object that belongs to it."""
        return {*self.segments(), *self.blobs()}


def push(config: Config, url: str) -> Copied:
    """Copy what is new in the archive to a place, and what is lacking there; read it back, and make it the newest.

    Raises FolderError where the archive does not go on from what is there, or is not whole, and CheckFailedError for a
    segment that is not what was written.
    """
    folder = DataFolder(config.data)
    folder.insist()
    there = _place(url, folder)
    with owned(folder, share=config.share == "group"):
        archives = forget.open_all(folder)
        forget.finish(config, folder, archives)
        rebuild.insist_on_whole(archives, config, folder)
        for archive in archives:
            if not _NAME.fullmatch(archive.source):
                raise FolderError(f"{folder.archive / archive.source} is no source's", hint="take it away")
        ours = {archive.source: _shelf(archive) for archive in archives}
        return _Push(folder, there, ours).made()


class _Push:
    """One push, which may have to look several times."""

    def __init__(self, folder: DataFolder, there: Place, ours: Mapping[str, Shelf]) -> None:
        self._folder = folder
        self._there = there
        self._ours = ours
        self._all = _following(None, ours)
        self._copied: dict[str, int] = {}
        """Bytes by the name of what was copied."""

    def made(self) -> Copied:
        """Copy what is lacking and make a head of it, until the newest one says it."""
        for _ in range(_LOOKS):
            newest = _newest(self._there)
            held = {source: newest.sources[source] for source in self._ours if newest and source in newest.sources}
            here = f"the archive in {self._folder.root}"
            _insist_on_descent(held, self._ours, f"what lies at {self._there}", here)
            lying = self._lying()
            self._copy(lying)
            if newest and held == self._ours:
                return self._told(newest, removed=self._remove(lying))
            reach("remote.copied")
            head = _following(newest, self._ours)
            self._there.put_new(_head(head.number), seal(head))
            reach("remote.headed")
        raise TryAgainError(f"others push to {self._there} all the time", hint="push again")

    def _lying(self) -> dict[str, Found]:
        """Return every object of our sources that is there, whoever put it."""
        folders = [f"{kind}{source}/" for source in self._ours for kind in (_SEGMENTS, _BLOBS)]
        return {name: found for folder in folders for name, found in self._there.there(folder).items()}

    def _copy(self, lying: Mapping[str, Found]) -> None:
        """Copy what is not there, or not as long as it should be."""
        entries = self._all.segments()
        paths = {name: _path(self._folder, name, entries.get(name)) for name in sorted(self._all.objects())}
        sizes = {name: entries[name].bytes if name in entries else _size(path) for name, path in paths.items()}
        names = [name for name in paths if name not in lying or lying[name].size != sizes[name]]

        def copy(name: str) -> int:
            path = paths[name]
            content = path.read_bytes() if path.exists() else None
            _insist_on_hash(content, name, str(path), "restore it from a backup, or pull it from where it was pushed")
            self._there.put(name, content or b"")
            reach("remote.put")
            hint = "push again; if that does not help, use another place"
            _insist_on_hash(self._there.read(name), name, self._there.url(name), hint)
            return len(content or b"")

        for name, size in zip(names, _side_by_side(copy, names), strict=True):
            self._copied[name] = size

    def _remove(self, lying: Mapping[str, Found]) -> int:
        """Remove what forgetting replaced, what killed pushes left, and heads of long ago; return how many but heads.

        What no head named may be another push's that has just begun: it has a day.
        """
        unnamed = {name: found for name, found in lying.items() if name not in self._all.objects()}
        heads = list(self._there.there(_HEADS))
        replaced = self._replaced(heads) if unnamed else set()
        left = [name for name, found in unnamed.items() if name in replaced or found.age > _LEFT]
        for name in (*left, *heads[:-_KEPT]):
            self._there.remove(name)
        return len(left)

    def _replaced(self, heads: list[str]) -> set[str]:
        """Name what stood in the place of our segments before, as far as the ledgers or older heads know."""
        named = {
            _name(source, msgspec.structs.replace(entry, sha256=sha256))
            for source, shelf in self._ours.items()
            for entry in shelf.entries
            for sha256 in entry.replaces
        }
        for name in heads[:-1]:
            with contextlib.suppress(FolderError):  # one that is damaged says nothing; the newest is whole
                head = _read(self._there, name)
                named |= head.objects() if head else set()
        return named

    def _told(self, head: Head, removed: int) -> Copied:
        blobs = sum(name.startswith(_BLOBS) for name in self._copied)
        segments = len(self._copied) - blobs
        size = sum(self._copied.values())
        return Copied(str(self._there), head.number, segments, blobs, size, len(head.segments()), removed)


def pull(config: Config, url: str) -> Copied:
    """Take into the data folder's archive all that the newest head at a place says; what is there and whole stays.

    So do segments that were not pushed yet, and sources that were not pushed there. What was forgotten there, or here,
    is held neither way. Raises FolderError where nothing was pushed there, or where a segment is another one there;
    CheckFailedError for an object that is not what was pushed.
    """
    folder = DataFolder(config.data)
    there = _place(url, folder)
    head = _insist_on_head(there)
    with owned(folder, share=config.share == "group"):
        held = {source: _lying(folder, source) for source in segments.sources(folder.archive) if source in head.sources}
        both = {source: head.sources[source] for source in held}
        _insist_on_kinship(held, both, f"the archive in {folder.root}", f"what lies at {there}")
        for source, shelf in head.sources.items():
            _obey(folder, source, shelf.forgotten)
        sizes = list(_pull_blobs(folder, there, head))
        counts = [list(_pull_source(folder, there, source, shelf)) for source, shelf in head.sources.items()]
        assemble.blobs(folder).take_note_away()
        forget.finish(config, folder, forget.open_all(folder))
        size = sum(sizes) + sum(map(sum, counts))
        return Copied(str(there), head.number, sum(map(len, counts)), len(sizes), size, len(head.segments()))


def _place(url: str, folder: DataFolder) -> Place:
    """Open a place; raises UsageError for one in the data folder, which goes with it."""
    there = place(url)
    if isinstance(there, Folder) and there.root.resolve().is_relative_to(folder.root.resolve()):
        raise UsageError(f"{there} lies in the data folder", hint="name another disk, or an object store")
    return there


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
    names = {sha256: name for name, sha256 in head.blobs().items()}
    wanted = [sha256 for sha256 in sorted(names) if not _is_whole(held.path(bytes.fromhex(sha256)), sha256)]
    for sha256, content in zip(wanted, _contents(there, [names[sha256] for sha256 in wanted]), strict=True):
        digest = bytes.fromhex(sha256)
        held.path(digest).unlink(missing_ok=True)
        held.put(digest, content)
        yield len(content)


def _pull_source(folder: DataFolder, there: Place, source: str, shelf: Shelf) -> Iterator[int]:
    """Copy the segments that are not there or not whole, after the ledger: killed, it says which ones are lacking."""
    place_here = files.make_folder(folder.archive / source)
    ours = ledger.readable(place_here)
    theirs = {entry.number: entry for entry in shelf.entries}
    path = {number: place_here / segments.file_name(number) for number in theirs}
    for number, entry in ours.items():
        is_theirs_replaced = number in theirs and theirs[number].sha256 in entry.replaces  # more was forgotten here
        if is_theirs_replaced and _is_whole(path[number], entry.sha256):
            theirs[number] = entry
    wanted = [one for one in theirs.values() if not (one.is_lost or _is_whole(path[one.number], one.sha256))]
    ledger.write(place_here, {**ours, **theirs}, scratch=folder.scratch)
    for entry, content in zip(wanted, _contents(there, [_name(source, entry) for entry in wanted]), strict=True):
        with files.explained(path[entry.number]):
            files.write_whole(path[entry.number], content, scratch=folder.scratch)
        reach("remote.pulled")
        yield len(content)
    _forget_again(Archive(folder.archive, source, scratch=folder.scratch), [entry.number for entry in wanted])


def _forget_again(archive: Archive, numbers: list[int]) -> None:
    """Let what was forgotten here be forgotten again where it came back with segments from there."""
    told = archive.tombstones
    if told.are_there and any(told.cover(id_) for number in numbers for id_ in archive.raw_ids(number)):
        archive.bury(told.unsettled())


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
    while names := list(there.there(_HEADS)):
        if head := _read(there, names[-1]):
            return head
    return None


def _read(there: Place, name: str) -> Head | None:
    """Read a head; None where others removed it meanwhile."""
    content = there.read(name)
    if content is None:
        return None
    where = there.url(name)
    try:
        head = unseal(content, Head)
    except msgspec.MsgspecError as error:
        raise FolderError(
            f"{where} is damaged, or of a newer version: {error}", hint="look at it; the head before it still is whole"
        ) from error
    hashes = {*head.blobs().values(), *(entry.sha256 for entry in head.segments().values())}
    if not (all(map(_NAME.fullmatch, head.sources)) and all(map(_SHA256.fullmatch, hashes))):
        raise FolderError(f"{where} names what is no part of an archive", hint="somebody else wrote it: look at it")
    if head.format != FORMAT or _head(head.number) != name:
        raise FolderError(f"{where} is not what its name says", hint="look at it, and take it away")
    return head


def _insist_on_head(there: Place) -> Head:
    if head := _newest(there):
        return head
    raise FolderError(
        f"no archive was pushed to {there}", hint="look at the URL; `pipeline archive push URL` makes one"
    )


def _insist_on_descent(older: Mapping[str, Shelf], newer: Mapping[str, Shelf], one: str, other: str) -> None:
    """Raise FolderError where what is to be replaced is no earlier state of what takes its place."""
    _insist_on_kinship(older, newer, one, other)
    for source, shelf in older.items():
        after = newer[source]
        if lacking := _numbers(shelf) - _numbers(after):
            raise _strangers(min(lacking), source, one, other)
        if (shelf.forgotten.done | shelf.forgotten.pending) - after.forgotten.done:
            raise FolderError(
                f"{source}: {one} forgot completions that {other} may hold",
                hint="forget them there too: `pipeline archive pull` does it; then try again",
            )


def _insist_on_kinship(ones: Mapping[str, Shelf], others: Mapping[str, Shelf], one: str, other: str) -> None:
    """Raise FolderError where both have a segment of one number, and not of one origin.

    A segment is akin to another if it is the same, or both came of the same one by forgetting.
    """
    for source, shelf in ones.items():
        known = {entry.number: entry for entry in others[source].entries if not entry.is_lost}
        for entry in shelf.entries:
            their = known.get(entry.number, entry)
            if not entry.is_lost and {their.sha256, *their.replaces}.isdisjoint({entry.sha256, *entry.replaces}):
                raise _strangers(entry.number, source, one, other)


def _numbers(shelf: Shelf) -> set[int]:
    return {entry.number for entry in shelf.entries if not entry.is_lost}


def _strangers(number: int, source: str, one: str, other: str) -> FolderError:
    return FolderError(
        f"segment {number} of {source}: {one} has it, and {other} does not go on from it",
        hint="they are two archives, or one of them lost something: use another place, or another folder",
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
        _insist_on_hash(
            content,
            name,
            there.url(name),
            "if somebody pushed meanwhile, pull again; else take it away there, and push again: that copies it anew",
        )
        return content or b""

    yield from _side_by_side(read, names)


def _side_by_side(work: Callable[[str], T], names: list[str]) -> Iterator[T]:
    """Do the work for a few names at a time, in order: memory holds no more than those."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(names), _AT_ONCE):
            yield from pool.map(work, names[start : start + _AT_ONCE])


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and ledger.sha256_of(path) == sha256


def _path(folder: DataFolder, name: str, entry: Entry | None) -> Path:
    """Return where an object comes from: the blob, or the segment of an entry."""
    if entry is None:
        return assemble.blobs(folder).path(bytes.fromhex(_sha256(name)))
    return folder.archive / name.split("/")[1] / segments.file_name(entry.number)


def _name(source: str, entry: Entry) -> str:
    return f"{_SEGMENTS}{source}/{entry.number:08d}-{entry.sha256}.parquet"


def _blob(source: str, sha256: str) -> str:
    return f"{_BLOBS}{source}/{sha256}"


def _head(number: int) -> str:
    return f"{_HEADS}{number:08d}.json"


def _sha256(name: str) -> str:
    return name.rpartition("/")[2].rpartition("-")[2].removesuffix(".parquet")
