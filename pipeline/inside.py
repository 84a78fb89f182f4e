"""The inside of a data folder recomputed: the archive from its bodies, the destinations from the archive.

Tables are flattened anew into a DuckDB file beside the writer's, and every destination is compared with it row for row.
Nothing that was counted before is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline import assemble
from pipeline.archive import segments
from pipeline.archive.check import RESTORE, check, check_blobs, references
from pipeline.archive.segments import Archive
from pipeline.errors import FolderError, PipelineError
from pipeline.load import compare
from pipeline.proof import Proof
from pipeline.rebuild import build
from pipeline.result import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.config import Config
    from pipeline.folder import DataFolder
    from pipeline.load.compare import Difference
    from pipeline.stopping import Stop


#: Kinds of problems that leave nothing to compare with.
_NOT_WHOLE = ("segment", "archive-missing", "archive-unreadable", "forgotten-damaged")


class _Lost(msgspec.Struct):
    """Of a run's record, what may have been lost."""

    lost_from: int | None = None
    lost_to: int | None = None


class Inside:
    """Checks one data folder, which the caller owns; what it finds is in ``problems``, ``proofs`` and ``notes``."""

    def __init__(self, config: Config, folder: DataFolder, stop: Stop) -> None:
        self._config = config
        self._folder = folder
        self._stop = stop
        self._blobs = assemble.blobs(folder)
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.compared: list[str] = []
        self.proofs: dict[str, Proof] = {}
        self._expected: compare.Expected | None = None
        """The tables made anew."""
        self._through: dict[str, int] | None = None
        """The segments by source that they hold."""

    def verify(self) -> None:
        """Check the archive, then what is derived from it; where the archive is not whole, only that is told."""
        for name in segments.sources(self._folder.archive):
            self.problems += check(self._folder.archive, name, self._blobs, scratch=self._folder.scratch)
            self._stop.check()
        archives = self._archives()
        self.problems += self._beyond(archives)
        if any(problem.kind.startswith(_NOT_WHOLE) for problem in self.problems):
            self.notes.append("blobs, Parquet and DuckDB were not compared: the archive they come from is not whole")
            return
        referred: set[bytes] = set().union(*(references(archive) for archive in archives))
        pending = [archive.source for archive in archives if archive.tombstones.pending]
        if pending:
            message = "a forgetting was interrupted: what it left is passed over by every reader of the archive"
            self.problems += [Problem("forgetting", source, message, "pipeline run") for source in pending]
            return
        self.problems += check_blobs(self._blobs, referred)
        self._verify_destinations(archives)

    def _beyond(self, archives: list[Archive]) -> Iterator[Problem]:
        """Yield what destinations hold of segments that the archive does not reach: it has lost them."""
        last = {archive.source: archive.last for archive in archives}
        for name, held in assemble.bookmarks(self._config, self._folder):
            for source, number in sorted(held.items()):
                if number > last.get(source, 0):
                    where = str(self._folder.archive / source)
                    message = f"ends with segment {last.get(source, 0)}, and {name} holds segment {number}"
                    yield Problem("archive-missing", where, message, RESTORE)

    def _archives(self) -> list[Archive]:
        found = []
        for name in segments.sources(self._folder.archive):
            self.proofs[name] = Proof(name)
            try:
                archive = Archive(self._folder.archive, name, scratch=self._folder.scratch)
                self.proofs[name] = _of(archive)
            except FolderError:
                continue  # `check` has told of it
            found.append(archive)
        return found

    # -- destinations ---------------------------------------------------------------------------------------------

    def _verify_destinations(self, archives: list[Archive]) -> None:
        """Compare each destination with tables made anew up to the segments that it says it holds."""
        last = {archive.source: archive.footers[-1].number for archive in archives if archive.footers}
        try:
            self._count(archives, last)
            for name, path in self._places():
                self._verify_place(name, path, archives, last)
            self._verify_delta(archives, last)
        finally:
            self._forget_expected()

    def _count(self, archives: list[Archive], last: Mapping[str, int]) -> None:
        for source, (held, versions, gone) in self._expect(archives, last).counts().items():
            proof = self.proofs[source]
            proof.held, proof.versions, proof.gone = held, versions, gone

    def _expect(self, archives: list[Archive], through: Mapping[str, int]) -> compare.Expected:
        """Flatten every source anew, up to a segment; what was made for the place before serves again."""
        if self._expected is None or self._through != through:
            self._forget_expected()
            (lane,) = build(["duckdb"], archives, self._config, self._folder, self._stop, through)
            if lane.error:
                raise lane.error
            file = self._folder.beside / self._folder.warehouse.name
            self._expected, self._through = compare.Expected(file, scratch=self._folder.scratch), dict(through)
        return self._expected

    def _forget_expected(self) -> None:
        if self._expected:
            self._expected.close()
            self._expected = None
        assemble.clear_beside(self._folder)

    def _places(self) -> Iterator[tuple[str, Path]]:
        """Yield the destinations that there are."""
        folder = self._folder
        for name, path in (("parquet", folder.parquet), ("duckdb", folder.warehouse), ("snapshot", folder.snapshot)):
            is_on = getattr(self._config, name if name != "snapshot" else "duckdb")
            if path.exists():
                yield name, path
            elif is_on and any(proof.segments for proof in self.proofs.values()):
                self.problems.append(Problem(f"{name}-missing", str(path), "is not there", _repair(name)))
            if path.exists() and not is_on:
                self.notes.append(f"{name} is switched off in the settings, and still there")

    def _verify_delta(self, archives: list[Archive], last: Mapping[str, int]) -> None:
        """Compare the Delta tables, which may lie on a server that others write to as well."""
        config, folder = self._config, self._folder
        if not (config.delta or folder.delta.exists()):
            return
        if not config.delta:
            self.notes.append("delta is switched off in the settings, and still there")
        try:
            tables = assemble.delta(config, folder)
            is_there = tables.is_there
        except PipelineError as error:
            self.problems.append(Problem("delta-differs", "delta", error.message, _repair("delta")))
            return
        if is_there:
            self._compare("delta", compare.Delta(tables, [archive.source for archive in archives]), archives, last)
        elif any(proof.segments for proof in self.proofs.values()):
            self.problems.append(Problem("delta-missing", tables.place.root, "is not there", _repair("delta")))

    def _verify_place(self, name: str, path: Path, archives: list[Archive], last: Mapping[str, int]) -> None:
        self._compare(name, compare.Parquet(path) if name == "parquet" else compare.DuckDB(path), archives, last)

    def _is_proved(self, name: str, place: compare.Place) -> bool:
        """Whether a place shows what another one shows that holds what it should: the snapshot is the writer's copy."""
        return (
            name == "snapshot"
            and isinstance(place, compare.DuckDB)
            and "duckdb" in self.compared
            and not self._differs("duckdb")
            and place.is_copy_of(self._folder.warehouse)
        )

    def _differs(self, name: str) -> bool:
        return any(problem.kind == f"{name}-differs" for problem in self.problems)

    def _compare(self, name: str, place: compare.Place, archives: list[Archive], last: Mapping[str, int]) -> None:
        try:
            if place.is_being_loaded:
                self.notes.append(f"{name} was not compared: a load was interrupted, `pipeline run` finishes it")
                return
            self._add(name, place.differences_of_files(logprobs=self._config.logprobs))
            bookmarks = place.bookmarks()
            self._tell_lag(name, bookmarks, last)
            if not self._differs(name) and not self._is_proved(name, place):
                self._add(name, self._expect(archives, bookmarks).differences(place))
        except PipelineError as error:
            self.problems.append(Problem(f"{name}-differs", str(place.path), error.message, _repair(name)))
        self.compared.append(name)

    def _tell_lag(self, name: str, bookmarks: Mapping[str, int], last: Mapping[str, int]) -> None:
        """Say that a destination is behind: it was off, locked or interrupted."""
        self.notes += [
            f"{name} holds segment {bookmarks.get(source, 0)} of {number} of {source}: `pipeline run` loads the rest"
            for source, number in last.items()
            if bookmarks.get(source, 0) < number
        ]

    def _add(self, name: str, found: Iterator[Difference]) -> None:
        self.problems += [Problem(f"{name}-differs", one.where, one.message, _repair(name)) for one in found]


def _repair(name: str) -> str:
    return f"pipeline rebuild {'duckdb' if name == 'snapshot' else name}"


def _of(archive: Archive) -> Proof:
    """Say of a source what its archive alone tells."""
    told = [msgspec.json.decode(body, type=_Lost) for _, body in archive.runs()]
    lost = [(run.lost_from, run.lost_to) for run in told if run.lost_from is not None and run.lost_to is not None]
    return Proof(
        archive.source,
        segments=len(archive.footers),
        forgotten=len(archive.tombstones.done | archive.tombstones.pending),
        may_be_lost=tuple((start // 1_000_000, end // 1_000_000) for start, end in lost),
    )
