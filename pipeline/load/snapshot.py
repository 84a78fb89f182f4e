"""The published snapshot: a copy of the writer's file that readers open, replaced whole and never written to.

A reader keeps the file it has opened, so neither side ever waits for the other. What readers open is a link:

    warehouse.duckdb ──▶ .published/8/warehouse.duckdb        the newest
                         .published/7/warehouse.duckdb        the one before, until the next run: then a link to 8,
                                                              for whoever is so late; and gone with the run after

For DuckDB 2 opens a database three times, and reads where everything lies before the last: if the name came to mean
another file in between, a reader would look for the old rows in the new file. DuckDB follows a link once, before all
that, so that it opens one and the same file however late it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from pipeline.errors import TryAgainError
from pipeline.failpoints import reach
from pipeline.files import FOLDER_MODE, explained, make_folder, point, remove, replacing, sync_folder
from pipeline.load.duckdb import DuckDBDestination, held, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.cost.settings import Cost

#: Linux's ioctl to share blocks between two files (ext4 cannot, XFS and Btrfs can); Python has no name for it.
_FICLONE = 0x40049409
#: Readers of the group pass through the folders of what is published.
_PASSAGE, _GROUP = 0o710, 0o040
#: Seconds for who has followed a link to open what it named; DuckDB takes 0.02 to 0.08 in all, and who is later is led
#: to the newest.
_OPENING = 0.1
#: What file systems say that know no links.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What publishing did."""

    published: bool
    """False where readers would see nothing new."""
    leftovers: tuple[Path, ...] = ()
    """Where logs now lie that somebody's writing left beside a snapshot."""


def publish(  # noqa: PLR0913 - each has a name
    writer: Path,
    snapshot: Path,
    *,
    versions: Path,
    scratch: Path,
    mode: int = 0o440,
    logprobs: bool = False,
    cost: Cost | None = None,
    anew: bool = False,
    is_ready: bool = False,
    is_whole: bool = False,
    forgets: bool = False,
) -> PublishResult:
    """Replace the snapshot by the writer's file, which nobody may have open, if it shows anything else, or ``anew``.

    ``is_ready`` says that the file was opened by today's destination and closed; ``is_whole`` that it has caught up
    with every archive; ``forgets`` that what was published before goes at once, not with the next run. Raises
    TryAgainError, and leaves readers what they have, where it is not and holds less than they see.
    """
    if not is_ready:
        # Opening it takes in the log that a killed run left, and makes its views today's; closing it leaves no log.
        DuckDBDestination(writer, logprobs=logprobs, cost=cost).close()
    if _log(writer).exists():
        raise TryAgainError(f"{_log(writer)} did not go away", hint="run again")
    reach("snapshot.checkpointed")
    with explained(snapshot):
        # First, so that there is never more on the disk than the writer's file and two copies of it.
        leftovers = [*_retire(versions, snapshot, scratch)]
        if not anew and (new := shown(writer)) is not None and new == shown(snapshot):
            return PublishResult(published=False, leftovers=tuple(leftovers))
        if not is_whole:
            _insist_on_no_less(writer, snapshot)
        version = _next(versions, mode) / snapshot.name
        with replacing(version, scratch=scratch, mode=mode) as temp:
            _copy(writer, temp)
            reach("snapshot.copied")
        for log in dict.fromkeys([_log(snapshot), _log(snapshot.resolve())]):
            leftovers += _set_aside(log, scratch.parent)
        _show(version, snapshot, scratch)
        reach("snapshot.renamed")
        if forgets:
            time.sleep(_OPENING)
            leftovers += _retire(versions, snapshot, scratch)
    return PublishResult(published=True, leftovers=tuple(leftovers))


def _insist_on_no_less(writer: Path, snapshot: Path) -> None:
    """Keep from readers a file that was made anew and has not come as far as what they see."""
    new, old = held(writer), held(snapshot)
    if behind := sorted(source for source, segment in old.items() if new.get(source, 0) < segment):
        raise TryAgainError(
            f"{snapshot} stays as it was: {writer} was made anew and holds less of {', '.join(behind)}",
            hint="run again: it catches up from the archive, where that can be read to its end",
        )


def _next(versions: Path, mode: int) -> Path:
    """Make a folder for what is published next, which those may pass through who may read it."""
    folder = make_folder(versions / str(max((int(version.name) for version in _all(versions)), default=0) + 1))
    for path in (versions, folder):
        path.chmod(_PASSAGE if mode & _GROUP else FOLDER_MODE)
    return folder


def _show(version: Path, snapshot: Path, scratch: Path) -> None:
    """Let readers open a version from now on; on a file system without links it takes the name itself."""
    try:
        point(snapshot, version, scratch=scratch)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        version.replace(snapshot)
        sync_folder(snapshot.parent)


def _retire(versions: Path, snapshot: Path, scratch: Path) -> Iterator[Path]:
    """Let what is not the snapshot any more lead to it, and remove what already does.

    Yields what somebody's writing left there, moved to where it does no harm.
    """
    newest = snapshot.resolve()
    for version in _all(versions):
        file = version / snapshot.name
        if file.resolve().parent == newest.parent and not file.is_symlink():
            continue
        yield from _set_aside(_log(file), scratch.parent)
        if file.is_symlink():
            with contextlib.suppress(OSError):  # held by a reader on another machine: the next run tries again
                remove(version)
        elif not (file.exists() and newest.exists() and _leads(file, newest, scratch)):
            remove(version)


def _leads(file: Path, to: Path, scratch: Path) -> bool:
    """Let a name lead elsewhere, whatever it meant; say whether that could be done."""
    try:
        point(file, to, scratch=scratch)
    except OSError:
        return False
    return True


def _all(versions: Path) -> list[Path]:
    """List the folders of what was published, which have growing numbers as long as one of them is there."""
    return [path for path in versions.iterdir() if path.name.isdecimal()] if versions.exists() else []


def _copy(file: Path, to: Path) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    with file.open("rb") as old, to.open("wb") as new, contextlib.suppress(OSError):
        fcntl.ioctl(new, _FICLONE, old.fileno())
        return
    shutil.copyfile(file, to)


def _log(database: Path) -> Path:
    """Name DuckDB's write-ahead log of a file."""
    return database.with_name(f"{database.name}.wal")


def _set_aside(leftover: Path, folder: Path) -> Iterator[Path]:
    """Move a log where it does no harm, and yield where: DuckDB refuses a database beside the log of another one."""
    if leftover.exists():
        target = next(path for n in count(1) if not (path := folder / f"{leftover.name}.{n}").exists())
        leftover.rename(target)
        sync_folder(folder)
        yield target
