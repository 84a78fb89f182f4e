"""The published snapshot: a copy of the writer's file that readers open, replaced whole and never written to.

A reader keeps the file it has opened, so neither side ever waits for the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from pipeline.errors import TryAgainError
from pipeline.failpoints import reach
from pipeline.files import explained, replacing, sync_folder
from pipeline.load.duckdb import DuckDBDestination, shown

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.cost.settings import Cost

#: Linux's ioctl to share blocks between two files (ext4 cannot, XFS and Btrfs can); Python has no name for it.
_FICLONE = 0x40049409


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What publishing did."""

    published: bool
    """False where readers would see nothing new."""
    leftover: Path | None = None
    """Where a log now lies that somebody's writing left beside the snapshot."""


def publish(  # noqa: PLR0913 - each has a name
    writer: Path,
    snapshot: Path,
    *,
    scratch: Path,
    mode: int = 0o440,
    logprobs: bool = False,
    cost: Cost | None = None,
    anew: bool = False,
    is_ready: bool = False,
) -> PublishResult:
    """Replace the snapshot by the writer's file, which nobody may have open, if it shows anything else, or ``anew``.

    ``is_ready`` says that the file was opened by today's destination and closed.
    """
    if not is_ready:
        # Opening it takes in the log that a killed run left, and makes its views today's; closing it leaves no log.
        DuckDBDestination(writer, logprobs=logprobs, cost=cost).close()
    if _log(writer).exists():
        raise TryAgainError(f"{_log(writer)} did not go away", hint="run again")
    reach("snapshot.checkpointed")
    if not anew and (new := shown(writer)) is not None and new == shown(snapshot):
        return PublishResult(published=False)
    with explained(snapshot), replacing(snapshot, scratch=scratch, mode=mode) as temp:
        _copy(writer, temp)
        reach("snapshot.copied")
        leftover = _set_aside(_log(snapshot), scratch.parent)
    reach("snapshot.renamed")
    return PublishResult(published=True, leftover=leftover)


def _copy(file: Path, to: Path) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    with file.open("rb") as old, to.open("wb") as new, contextlib.suppress(OSError):
        fcntl.ioctl(new, _FICLONE, old.fileno())
        return
    shutil.copyfile(file, to)


def _log(database: Path) -> Path:
    """Name DuckDB's write-ahead log of a file."""
    return database.with_name(f"{database.name}.wal")


def _set_aside(leftover: Path, folder: Path) -> Path | None:
    """Move a file where it does no harm: DuckDB refuses to open a database beside the log of another one."""
    if not leftover.exists():
        return None
    target = next(path for n in count(1) if not (path := folder / f"{leftover.name}.{n}").exists())
    leftover.rename(target)
    sync_folder(folder)
    return target
