"""What `rebuild` makes right, by name: derived data from the archive, the ledger from the segments, the blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import assemble, forget
from pipeline.archive import ledger
from pipeline.archive.check import check_rows
from pipeline.archive.segments import Archive, sources
from pipeline.errors import CheckFailedError, FolderError
from pipeline.folder import DataFolder, owned
from pipeline.rebuild import rebuild
from pipeline.result import DestinationResult
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from pipeline.config import Config


def repair(config: Config, what: str, stop: Stop | None = None) -> list[DestinationResult]:
    """Make ``parquet``, ``duckdb``, ``all`` of both, the ``ledger`` or the ``blobs`` right.

    Raises FolderInUseError while a run has the folder, CheckFailedError where the archive itself is not whole.
    """
    folder, stop = DataFolder(config.data), stop or Stop()
    folder.insist()
    with owned(folder, share=config.share == "group"):
        if what == "ledger":
            return [_ledger(folder, name) for name in sources(folder.archive)]
        archives = forget.open_all(folder)
        forget.finish(config, folder, archives, stop)
        if what == "blobs":
            return [_blobs(folder, archives)]
        names = assemble.destination_names(config) if what == "all" else [what]
        done = rebuild(names, archives, config, folder, stop)
        if "duckdb" in names and not any(result.error for result in done):
            assemble.publish(config, folder, anew=True)
        return done


def _ledger(folder: DataFolder, name: str) -> DestinationResult:
    """Check every segment of a source against its own hashes, then enter it as it lies there."""
    place = folder.archive / name
    before = _entries(folder, name)
    (place / ledger.NAME).unlink(missing_ok=True)
    archive = Archive(folder.archive, name, scratch=folder.scratch)
    blobs = assemble.blobs(folder)
    wrong = [problem for footer in archive.footers for problem in check_rows(archive, footer.number, blobs)]
    if any(problem.kind == "segment-damaged" for problem in wrong):
        ledger.write(place, before, scratch=folder.scratch)
        raise CheckFailedError(f"{wrong[0].where} {wrong[0].message}", hint=wrong[0].repair)
    archive.enter(replaced={number: entry.replaces for number, entry in before.items()})
    return DestinationResult(f"ledger of {name}", 0, segments=len(archive.footers))


def _entries(folder: DataFolder, name: str) -> dict[int, ledger.Entry]:
    try:
        return ledger.read(folder.archive / name)
    except FolderError:
        return {}


def _blobs(folder: DataFolder, archives: list[Archive]) -> DestinationResult:
    """Remove the blobs that nothing refers to."""
    return DestinationResult("blobs", 0, removed=forget.remove_blobs(folder, archives))
