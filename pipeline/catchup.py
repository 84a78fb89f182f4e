"""Brings every destination up to the archive's last segment: each segment is flattened once, for all that lack it."""

from __future__ import annotations

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline import ahead
from pipeline.errors import FolderError, PipelineError
from pipeline.result import DestinationResult
from pipeline.transform.flatten import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from pipeline.archive.segments import Archive
    from pipeline.handoff import Batch, Destination
    from pipeline.stopping import Stop

#: Arrow bytes loaded in one act. Fewer acts cost fewer statements and rewrites; more bytes cost memory.
GROUP_BYTES = 16 * 2**20
#: Arrow bytes after which a destination makes durable what it was given: at most so much is loaded again after a crash.
SETTLE_BYTES = 2**28
#: The same where nothing else is to do: a slow walk waits for the server, and has less left to settle at its end.
SETTLE_WAITING = 96 * 2**20
#: Seconds of a thread's turn while one flattens and one loads; measured: a sixth less time than with Python's 5 ms.
TURN = 0.0002


class Growing:
    """An archive to which another process writes; whoever reads it follows, up to the segment told of last.

    ``flattened`` yields what somebody else flattens of its segments behind a number and up to another one, in their
    order: all of it, or as much as it comes to.
    """

    def __init__(self, archive: Archive, last: int, flattened: Callable[[int, int], Iterable[Batch]]) -> None:
        self.archive = archive
        self._last = last
        self._flattened = flattened
        self._is_over = False
        self._changed = threading.Condition()

    def reach(self, last: int) -> None:
        """Say that segments up to ``last`` are there."""
        with self._changed:
            self._last = max(self._last, last)
            self._changed.notify()

    def end(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def batches(self, number: int, *, tokens: bool) -> Iterator[Batch | None]:
        """Flatten every segment behind ``number``, as they come, until nothing more does; None says that one waits."""
        while (last := self._beyond(number)) > number:
            self.archive.look(last)
            for batch in self._flattened(number, last):
                yield batch
                number = batch.bookmark.segment
            if number < last:
                yield from (flatten(segment, tokens=tokens) for segment in self.archive.after(number, number + 1))
                number += 1
            if self._last <= number:
                yield None

    def _beyond(self, number: int) -> int:
        """Wait for a segment behind ``number``; return the last one there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > number or self._is_over)
            return self._last


@dataclass(slots=True)
class Group:
    """Batches that are loaded in one act."""

    batches: list[Batch] = field(default_factory=list)
    size: int = 0
    """Arrow bytes."""
    is_waited_behind: bool = False
    """Whether the next segment is yet to come."""


@dataclass(slots=True)
class Lane:
    """One destination, how far it got in this run, and what stopped it."""

    destination: Destination
    segments: int = 0
    completions: int = 0
    error: PipelineError | None = None
    _waiting: list[tuple[int, int]] = field(default_factory=list)
    """Segments and completions of the loads that are not settled yet."""
    _bytes: int = 0

    def lacks(self, archive: Archive) -> range:
        """Return the segments that the destination may load: behind what it holds, up to one that is missing there.

        That one is loaded in its turn, once it is there again: a bookmark says that all before it is held.
        """
        try:
            held = self.destination.bookmarks().get(archive.source, 0)
        except PipelineError as error:
            self.error = error
            return range(0)
        if held > archive.last:
            self.error = _ahead(self.destination.name, held, archive)
        return range(held + 1, next((number for number in archive.missing if number > held), sys.maxsize))

    def load(self, group: Group, *, lacking: range) -> None:
        """Load what the destination does not hold yet; what stops it stops only itself."""
        wanted = [batch for batch in group.batches if batch.bookmark.segment in lacking]
        if self.error or not wanted:
            return
        try:
            self.destination.load(wanted, settle=False)
        except PipelineError as error:
            self.error = error
            return
        self._waiting.append((len(wanted), sum(batch.tables["completions"].num_rows for batch in wanted)))
        self._bytes += group.size
        if self._bytes >= (SETTLE_WAITING if group.is_waited_behind else SETTLE_BYTES):
            self.settle()

    def settle(self) -> None:
        """Make durable what was loaded; only that counts."""
        if self.error:
            return
        try:
            self.destination.settle()
        except PipelineError as error:
            self.error = error
            return
        self.segments += sum(segments for segments, _ in self._waiting)
        self.completions += sum(completions for _, completions in self._waiting)
        self._waiting, self._bytes = [], 0

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
        self._load(archive, lambda held: ahead.batches(archive, held, through, tokens=self.logprobs))

    def follow(self, growing: Growing) -> None:
        """Load every segment that a lane lacks, and those that come, until nothing more does."""
        self._load(growing.archive, lambda held: growing.batches(held, tokens=self.logprobs))

    def _load(self, archive: Archive, after: Callable[[int], Iterable[Batch | None]]) -> None:
        """Load a group while the next one is flattened."""
        lacking = {lane.destination.name: lane.lacks(archive) for lane in self.lanes}
        begins = (lacking[lane.destination.name].start for lane in self.lanes if not lane.error)
        held = min(begins, default=archive.last + 1) - 1
        try:
            with _short_turns(), ThreadPoolExecutor(1) as beside:
                loading: Future[None] | None = None
                for group in self._groups(after(held)):
                    if loading:
                        loading.result()
                    if self.stop.asked:
                        break
                    loading = beside.submit(self._load_group, group, lacking)
                    del group
                if loading:
                    loading.result()
        finally:  # also where a segment cannot be read: what was loaded before it stays
            for lane in self.lanes:
                lane.settle()
        self.stop.check()

    def _load_group(self, group: Group, lacking: Mapping[str, range]) -> None:
        for lane in self.lanes:
            lane.load(group, lacking=lacking[lane.destination.name])

    def look_at(self, archive: Archive, number: int) -> None:
        """Learn how many were rejected behind segment ``number``, where who loaded them could not tell."""
        for segment in archive.after(number):
            self._note(flatten(segment))
            self.stop.check()

    def _note(self, batch: Batch) -> None:
        if batch.rejected:
            self.rejected.setdefault(batch.bookmark.source, {})[batch.bookmark.segment] = batch.rejected

    def rejected_since(self, source: str, segment: int) -> int:
        """Count the completions rejected in segments behind ``segment``."""
        return sum(count for number, count in self.rejected.get(source, {}).items() if number > segment)

    def _groups(self, batches: Iterable[Batch | None]) -> Iterator[Group]:
        """Yield batches in groups of some size, or as many as there are where more are waited for."""
        group = Group()
        for batch in batches:
            if batch is None:
                if group.batches:
                    group.is_waited_behind = True
                    yield group
                    group = Group()
                continue
            self._note(batch)
            group.batches.append(batch)
            group.size += batch.nbytes
            if group.size >= GROUP_BYTES:
                yield group
                group = Group()
        if group.batches:
            yield group


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns more often than Python would: loading is many short calls, and each waits its turn."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _ahead(destination: str, held: int, archive: Archive) -> FolderError:
    """Say that a destination knows more than the archive it comes from: what follows would be taken for loaded."""
    return FolderError(
        f"{destination} holds segment {held} of source {archive.source}, and the archive ends with {archive.last}",
        hint=f"restore the archive from a backup; or give up what only {destination} holds: delete it, then run again",
    )
