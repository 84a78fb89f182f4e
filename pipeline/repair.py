"""What `rebuild` makes right, by name: derived data from the archive, the ledger from the segments, the blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import assemble, forget
from pipeline.archive import ledger
from pipeline.archive.check import RESTORE, check_rows
from pipeline.archive.segments import Archive, sources
from pipeline.errors import CheckFailedError
from pipeline.folder import DataFolder, owned
from pipeline.rebuild import insist_on_whole, rebuild
from pipeline.result import DestinationResult
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.archive.blobs import Blobs
    from pipeline.config import Config


def repair(
    config: Config, what: str, stop: Stop | None = None, *, accepts_losses: bool = False
) -> list[DestinationResult]:
    """Make ``parquet``, ``duckdb``, ``delta``, ``all`` that are on, the ``ledger`` or the ``blobs`` right.

    ``accepts_losses`` lets the ledger note that segments are lost without a backup. Raises FolderInUseError while a run
    has the folder, FolderError or CheckFailedError where the archive itself is not whole.
    """
    folder, stop = DataFolder(config.data), stop or Stop()
    folder.insist()
    with owned(folder, share=config.share == "group"):
        if what == "ledger":
            done = [_ledger(folder, name, accepts_losses=accepts_losses) for name in sources(folder.archive)]
            forget.finish(config, folder, forget.open_all(folder), stop)
            return done
        archives = forget.open_all(folder)
        forget.finish(config, folder, archives, stop)
        if what == "blobs":
            insist_on_whole(archives, config, folder)
            return [_blobs(folder, archives)]
        names = assemble.destination_names(config) if what == "all" else [what]
        results = rebuild(names, archives, config, folder, stop)
        if "duckdb" in names and not any(result.error for result in results):
            assemble.publish(config, folder, anew=True, is_whole=True)
        return results


def _ledger(folder: DataFolder, name: str, *, accepts_losses: bool) -> DestinationResult:
    """Check every segment of a source against its own hashes and what was entered, then enter it as it lies there.

    The old ledger stays until the new one takes its place: nothing else says what was replaced, and what is lost.
    """
    place = folder.archive / name
    before = ledger.readable(place)
    archive = Archive(folder.archive, name, scratch=folder.scratch, entries={})
    _insist(archive, before, assemble.blobs(folder), accepts_losses=accepts_losses)
    missing = {*range(1, archive.last + 1), *before} - {footer.number for footer in archive.footers}
    archive.enter(
        replaced={number: entry.replaces for number, entry in before.items()},
        lost=missing if accepts_losses else {number for number in missing if before[number].is_lost},
    )
    if not archive.entries:
        (place / ledger.NAME).unlink(missing_ok=True)
    if any(archive.tombstones.cover(id_) for footer in archive.footers for id_ in archive.raw_ids(footer.number)):
        archive.bury(archive.tombstones.unsettled())
    return DestinationResult(f"ledger of {name}", 0, segments=len(archive.footers))


def _insist(archive: Archive, before: Mapping[int, ledger.Entry], blobs: Blobs, *, accepts_losses: bool) -> None:
    """Raise CheckFailedError for a segment that is not what was written, and FolderError for one that is missing."""
    for footer in archive.footers:
        path, entry = archive.path(footer.number), before.get(footer.number)
        if entry and ledger.sha256_of(path) not in {entry.sha256, *entry.replaces}:
            raise CheckFailedError(f"{path} is not what was entered: its SHA-256 differs", hint=RESTORE)
        for problem in check_rows(archive, footer.number, blobs):
            if problem.kind == "segment-damaged":
                raise CheckFailedError(f"{problem.where} {problem.message}", hint=problem.repair)
    if not accepts_losses:
        archive.insist_on_whole(before)


def _blobs(folder: DataFolder, archives: list[Archive]) -> DestinationResult:
    """Remove the blobs that nothing refers to."""
    return DestinationResult("blobs", 0, removed=forget.remove_blobs(folder, archives))
