"""Brings every destination up to the archive's last segment: each segment is flattened once, for all that lack it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import FolderError, PipelineError
from pipeline.result import DestinationResult
from pipeline.transform.flatten import flatten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.archive.segments import Archive
    from pipeline.handoff import Batch, Destination
    from pipeline.stopping import Stop

#: Arrow bytes loaded in one act. Fewer acts cost fewer transactions and rewrites; more bytes cost memory.
GROUP_BYTES = 64 * 2**20


@dataclass(slots=True)
class Lane:
    """One destination, how far it got in this run, and what stopped it."""

    destination: Destination
    segments: int = 0
    completions: int = 0
    error: PipelineError | None = None

    def holds(self, archive: Archive) -> int:
        """Return the last segment of the archive that the destination holds."""
        try:
            held = self.destination.bookmarks().get(archive.source, 0)
        except PipelineError as error:
            self.error = error
            return 0
        if held > archive.last:
            self.error = _ahead(self.destination.name, held, archive)
        return held

    def load(self, batches: Sequence[Batch], *, held: int) -> None:
        """Load what the destination does not hold yet; what stops it stops only itself."""
        wanted = [batch for batch in batches if batch.bookmark.segment > held]
        if self.error or not wanted:
            return
        try:
            self.destination.load(wanted)
        except PipelineError as error:
            self.error = error
            return
        self.segments += len(wanted)
        self.completions += sum(batch.tables["completions"].num_rows for batch in wanted)

    def result(self) -> DestinationResult:
        """Tell how far it got."""
        error = self.error
        return DestinationResult(
            self.destination.name,
            error.exit_code if error else 0,
            self.segments,
            self.completions,
            error=error.message if error else None,
            hint=error.hint or None if error else None,
        )


@dataclass(slots=True)
class CatchUp:
    """Loads sources into lanes, and remembers how many completions of each segment were rejected."""

    lanes: list[Lane]
    stop: Stop
    logprobs: bool = False
    rejected: dict[str, dict[int, int]] = field(default_factory=dict)

    def load(self, archive: Archive, through: int | None = None) -> None:
        """Load every segment that a lane lacks, up to ``through``; a stop ends it between two acts."""
        held = {lane.destination.name: lane.holds(archive) for lane in self.lanes}
        first = min((held[lane.destination.name] for lane in self.lanes if not lane.error), default=archive.last)
        for group in self._groups(archive, first, through):
            for lane in self.lanes:
                lane.load(group, held=held[lane.destination.name])
            self.stop.check()

    def rejected_since(self, source: str, segment: int) -> int:
        """Count the completions rejected in segments behind ``segment``."""
        return sum(count for number, count in self.rejected.get(source, {}).items() if number > segment)

    def _groups(self, archive: Archive, first: int, through: int | None) -> Iterator[list[Batch]]:
        """Yield flattened segments in groups of some size."""
        group: list[Batch] = []
        size = 0
        for segment in archive.after(first, through):
            batch = flatten(segment, tokens=self.logprobs)
            if batch.rejected:
                self.rejected.setdefault(archive.source, {})[segment.number] = batch.rejected
            group.append(batch)
            size += sum(table.nbytes for table in batch.tables.values())
            if size >= GROUP_BYTES:
                yield group
                group, size = [], 0
        if group:
            yield group


def _ahead(destination: str, held: int, archive: Archive) -> FolderError:
    """Say that a destination knows more than the archive it comes from: what follows would be taken for loaded."""
    return FolderError(
        f"{destination} holds segment {held} of source {archive.source}, and the archive ends with {archive.last}",
        hint=f"restore the archive from a backup; or give up what only {destination} holds: delete it, then run again",
    )
