"""Destinations made anew from the archive alone, offline, beside the old ones, and swapped when done."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pipeline import assemble, files
from pipeline.catchup import CatchUp, Lane
from pipeline.errors import FolderError, PipelineError, TryAgainError
from pipeline.failpoints import reach
from pipeline.handoff import Staging

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.archive.segments import Archive
    from pipeline.config import Config
    from pipeline.folder import DataFolder
    from pipeline.result import DestinationResult
    from pipeline.stopping import Stop


def rebuild(
    names: Sequence[str], archives: Sequence[Archive], config: Config, folder: DataFolder, stop: Stop
) -> list[DestinationResult]:
    """Make destinations anew and put each in the place of the old one when it is whole; the caller owns the folder.

    Whatever interrupts it, the old ones serve on. Raises StoppedError where it was asked to stop, and FolderError
    where the archive is not whole: what a destination holds beyond it would be lost.
    """
    insist_on_whole(archives, config, folder)
    files.remove(folder.beside)
    lanes = build(names, archives, config, folder, stop)
    reach("rebuild.loaded")
    for lane in lanes:
        if lane.error is None:
            _take_place(lane, folder)
    files.remove(folder.beside)
    return [lane.result() for lane in lanes]


def insist_on_whole(archives: Sequence[Archive], config: Config, folder: DataFolder) -> None:
    """Raise FolderError where a segment is missing, as far as archive and destinations know of it."""
    for archive in archives:
        archive.insist_on_whole()
    last = {archive.source: archive.last for archive in archives}
    for name, held in assemble.bookmarks(config, folder):
        for source, number in sorted(held.items()):
            if number > last.get(source, 0):
                raise FolderError(
                    f"{name} holds segment {number} of {source}, and the archive ends with {last.get(source, 0)}",
                    hint=f"restore archive/{source} from a backup: what is missing there cannot be derived again",
                )


def build(  # noqa: PLR0913, PLR0917 - what is loaded, from where, to where
    names: Sequence[str],
    archives: Sequence[Archive],
    config: Config,
    folder: DataFolder,
    stop: Stop,
    through: Mapping[str, int] | None = None,
) -> list[Lane]:
    """Load everything into new destinations beside the old ones; of each source up to a segment, where it is named.

    Each segment is flattened once for all of them.
    """
    with contextlib.ExitStack() as opened:
        beside = (assemble.destination_beside(name, config, folder) for name in names)
        lanes = [Lane(opened.enter_context(contextlib.closing(one))) for one in beside]
        catch_up = CatchUp(lanes, stop, logprobs=config.logprobs)
        for archive in archives:
            catch_up.load(archive, None if through is None else through.get(archive.source, 0))
    return lanes


def _take_place(lane: Lane, folder: DataFolder) -> None:
    """Put what a lane has loaded in the place of what serves."""
    if not isinstance(lane.destination, Staging):
        with files.explained(folder.root):
            _swap(lane.destination.name, folder)
        return
    try:
        lane.destination.take_place()
    except PipelineError as error:  # of a server, perhaps: the others are whole
        lane.error = error


def _swap(name: str, folder: DataFolder) -> None:
    """Put the new one in the place of the old one."""
    if name == "parquet":
        new = folder.beside / folder.parquet.name
        files.make_folder(new)
        files.make_folder(folder.parquet)
        files.exchange(new, folder.parquet)
    else:
        new, log = folder.beside / folder.warehouse.name, f"{folder.warehouse.name}.wal"
        if new.with_name(log).exists():  # DuckDB tells nobody that it could not write everything into the file
            raise TryAgainError(f"{new.with_name(log)} did not go away", hint="look at the disk, then try again")
        # The log of the old file would not fit the new one; what it holds is in the archive.
        folder.warehouse.with_name(log).unlink(missing_ok=True)
        new.replace(folder.warehouse)
        files.sync_folder(folder.private)
