"""Destinations made anew from the archive alone, offline, beside the old ones, and swapped when done."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pipeline import assemble, files
from pipeline.catchup import CatchUp, Lane
from pipeline.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.archive.segments import Archive
    from pipeline.config import Config
    from pipeline.folder import DataFolder
    from pipeline.result import DestinationResult
    from pipeline.stopping import Stop


def rebuild(
    names: Sequence[str], archives: Sequence[Archive], config: Config, folder: DataFolder, stop: Stop
) -> list[DestinationResult]:
    """Make destinations anew and put each in the place of the old one when it is whole; the caller owns the folder.

    Whatever interrupts it, the old ones serve on. Raises StoppedError where it was asked to stop.
    """
    return [_rebuild(name, archives, config, folder, stop) for name in names]


def _rebuild(
    name: str, archives: Sequence[Archive], config: Config, folder: DataFolder, stop: Stop
) -> DestinationResult:
    files.remove(folder.beside)
    lane = build(name, archives, config, folder, stop)
    reach("rebuild.loaded")
    if lane.error is None:
        with files.explained(folder.root):
            _swap(name, folder)
    return lane.result()


def build(name: str, archives: Sequence[Archive], config: Config, folder: DataFolder, stop: Stop) -> Lane:
    """Load everything into a new destination beside the old one."""
    with contextlib.closing(assemble.destination_beside(name, config, folder)) as opened:
        lane = Lane(opened)
        catch_up = CatchUp([lane], stop, logprobs=config.logprobs)
        for archive in archives:
            catch_up.load(archive)
    return lane


def _swap(name: str, folder: DataFolder) -> None:
    """Put the new one in the place of the old one."""
    if name == "parquet":
        new = folder.beside / folder.parquet.name
        files.make_folder(new)
        files.make_folder(folder.parquet)
        files.exchange(new, folder.parquet)
    else:
        # The log of the old file would not fit the new one; what it holds is in the archive.
        folder.warehouse.with_name(f"{folder.warehouse.name}.wal").unlink(missing_ok=True)
        (folder.beside / folder.warehouse.name).replace(folder.warehouse)
        files.sync_folder(folder.private)
    files.remove(folder.beside)
