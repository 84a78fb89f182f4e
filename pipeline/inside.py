"""The inside of a data folder recomputed: the archive from its bodies, the destinations from the archive.

Tables are flattened anew into a DuckDB file beside the writer's, and every destination is compared with it row for row.
Nothing that was counted before is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline import assemble
from pipeline.archive import segments
from pipeline.archive.check import check, check_blobs, references
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

    def verify(self) -> None:
        """Check the archive, then what is derived from it; where the archive is not whole, only that is told."""
        for name in segments.sources(self._folder.archive):
            self.problems += check(self._folder.archive, name, self._blobs, scratch=self._folder.scratch)
            self._stop.check()
        archives = self._archives()
        if len(archives) == len(segments.sources(self._folder.archive)):
            referred: set[bytes] = set().union(*(self._references(archive) for archive in archives))
            self.problems += check_blobs(self._blobs, referred)
        if any(problem.kind.startswith(("segment", "archive", "forgotten-damaged")) for problem in self.problems):
            self.notes.append("Parquet and DuckDB were not compared: the archive they come from is not whole")
            return
        self._verify_destinations(archives)

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

    @staticmethod
    def _references(archive: Archive) -> set[bytes]:
        try:
            return references(archive)
        except FolderError:
            return set()  # `check` has told of it

    # -- destinations ---------------------------------------------------------------------------------------------

    def _verify_destinations(self, archives: list[Archive]) -> None:
        """Compare each destination with tables made anew up to the segment that it says it holds."""
        last = {archive.source: archive.last for archive in archives if archive.last}
        expected = self._expect(archives)
        for source, (held, versions, gone) in compare.counts(expected).items():
            proof = self.proofs[source]
            proof.held, proof.versions, proof.gone = held, versions, gone
        for name, path in self._places():
            self._verify_place(name, path, expected, last)
        assemble.clear_beside(self._folder)

    def _expect(self, archives: list[Archive]) -> Path:
        assemble.clear_beside(self._folder)
        lane = build("duckdb", archives, self._config, self._folder, self._stop)
        if lane.error:
            raise lane.error
        return self._folder.beside / self._folder.warehouse.name

    def _places(self) -> Iterator[tuple[str, Path]]:
        """Yield the destinations that there are."""
        folder = self._folder
        for name, path in (("parquet", folder.parquet), ("duckdb", folder.warehouse), ("snapshot", folder.snapshot)):
            is_on = self._config.parquet if name == "parquet" else self._config.duckdb
            if path.exists():
                yield name, path
            elif is_on and any(proof.segments for proof in self.proofs.values()):
                self.problems.append(Problem(f"{name}-missing", str(path), "is not there", _repair(name)))
            if path.exists() and not is_on:
                self.notes.append(f"{name} is switched off in the settings, and still there")

    def _verify_place(self, name: str, path: Path, expected: Path, last: Mapping[str, int]) -> None:
        if name == "parquet":
            self._add(name, compare.compare_files(path, logprobs=self._config.logprobs))
        try:
            bookmarks = compare.bookmarks_of_parquet(path) if name == "parquet" else compare.bookmarks_of_duckdb(path)
            if any(bookmarks.get(source, 0) != number for source, number in last.items()):
                self._tell_lag(name, bookmarks, last)
                return
            tables = compare.tables_of_parquet(path) if name == "parquet" else compare.tables_of_duckdb()
            if not any(problem.kind == f"{name}-differs" for problem in self.problems):
                self._add(name, compare.compare_rows(expected, tables, path, scratch=self._folder.scratch))
        except PipelineError as error:
            self.problems.append(Problem(f"{name}-differs", str(path), error.message, _repair(name)))
        self.compared.append(name)

    def _tell_lag(self, name: str, bookmarks: Mapping[str, int], last: Mapping[str, int]) -> None:
        """Say that a destination is behind: it was off, locked or interrupted. One that is ahead is wrong."""
        for source, number in last.items():
            held = bookmarks.get(source, 0)
            if held > number:
                message = f"holds segment {held} of {source}, and the archive ends with {number}"
                self.problems.append(Problem(f"{name}-differs", name, message, _repair(name)))
            elif held < number:
                self.notes.append(
                    f"{name} holds segment {held} of {number} of {source} and was not compared: `pipeline run` loads "
                    "the rest"
                )

    def _add(self, name: str, found: Iterator[Difference]) -> None:
        self.problems += [Problem(f"{name}-differs", one.where, one.message, _repair(name)) for one in found]


def _repair(name: str) -> str:
    return "pipeline rebuild parquet" if name == "parquet" else "pipeline rebuild duckdb"


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
