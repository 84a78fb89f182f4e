"""The sweep: everything still listed is walked again, in parts side by side, within a budget of requests.

It finds new versions, completions that no run saw, and those that are not listed any more. These are marked as missed,
and are gone only after their own GET says not found; what the budget does not reach waits for the next run.

    unread parts ──walks──▶ rows kept, missing ones marked ──cut──▶ their own GETs ──▶ gone or found ──cut──▶
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage, marks
from pipeline.archive.held import Held, anchors
from pipeline.archive.missing import Missing
from pipeline.errors import IncompleteError
from pipeline.extract.walk import Heard, Refusal, Walk
from pipeline.extract.workers import Workers
from pipeline.failpoints import reach
from pipeline.handoff import Page, Span, Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from pipeline.archive.held import State
    from pipeline.archive.intake import Intake
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.extract.walk import Request
    from pipeline.handoff import Row
    from pipeline.horizon import Horizon
    from pipeline.stopping import Stop

#: Held completions between two anchors: what one walk of a sweep looks up and compares at a time.
PART = 5_000
#: Missing completions that one run marks; more wait for the next.
MOST_MISSING = 100_000
#: Anchors tried at the beginning of a part before it is walked from the beginning of the list.
TRIED = 4
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """How to sweep one source."""

    fingerprint: str
    limit: int
    requests: int
    """Most requests in this run; a walk that is cut short is gone on with in the next."""
    walks: int
    """Walks side by side; 1 where filters make an anchor that does not pass them useless."""
    every: float
    """Seconds from one sweep to the next."""
    is_asked: bool = False
    """Whether the user asked for one now."""
    accepts_losses: bool = False
    """Whether most of what is held may be marked as missed."""


@dataclass(slots=True)
class _Part:
    """One walk between two anchors, and what it should show."""

    start: int | None
    end: int
    held: Held
    walk: Walk
    requests: Generator[Request, Heard, None]
    missing: Missing
    asked_at: int | None = None

    def inside(self, page: Page) -> Page:
        """Return the rows that belong to this part: at its edges a page shows those of its neighbours."""
        return Page(tuple(row for row in page.rows if self._holds(row)), page.has_more, page.server_time)

    def _holds(self, row: Row) -> bool:
        return row.created is None or ((self.start is None or row.created > self.start) and row.created <= self.end)

    @property
    def read_to(self) -> int | None:
        """The second up to which the part has been read; None where nothing of it has."""
        end = None if self.walk.completed is None else min(self.walk.completed, self.end)
        return None if end is None or (self.start is not None and end <= self.start) else end


class Sweeping:
    """One run's share of a sweep of one source.

    ``cut`` writes a segment with spans, ``observe`` is called after each page;
    ``position`` is how far the runs have read, ``horizon`` what this run learned of the oldest completion listed.
    """

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        order: SweepOrder,
        archive: Archive,
        intake: Intake,
        client: Client,
        *,
        position: int,
        horizon: Horizon,
        stop: Stop,
        cut: Callable[[tuple[Span, ...]], None],
        observe: Callable[[], None],
    ) -> None:
        self._order = order
        self._archive = archive
        self._intake = intake
        self._client = client
        self._position = position
        self._horizon = horizon
        self._stop = stop
        self._cut = cut
        self._observe = observe
        self._budget = order.requests
        self._missed: list[tuple[str, State]] = []
        self._spans: list[Span] = []
        self._examined = 0
        self._sweep, self._read = coverage.latest_sweep(archive.spans(order.fingerprint))
        self.found_late = 0
        """Completions that no run had seen."""
        self.unlisted = 0
        """Completions that answer for themselves although the list does not show them."""
        self.waiting = 0
        """Missed completions that a later run asks for."""

    @property
    def is_due(self) -> bool:
        """Whether there is a sweep to begin, one to go on with, or missed completions to ask for."""
        return self._order.is_asked or self._is_begun or self._is_time or bool(marks.pending(self._archive))

    @property
    def _is_begun(self) -> bool:
        return self._sweep is not None and not coverage.is_swept(self._sweep, self._read)

    @property
    def _is_time(self) -> bool:
        spans = self._read or self._archive.spans(self._order.fingerprint)[:1]
        return bool(spans) and self._horizon.asked_at - spans[-1].asked_at >= self._order.every

    @property
    def read_through(self) -> int | None:
        """How far the latest sweep has read, in Unix seconds."""
        return coverage.position([*self._read, *self._spans])

    def run(self) -> None:
        """Walk what is unread, mark what is missing, and ask for each that was missed, as far as the budget goes.

        Raises IncompleteError where most of what is held would be marked, and what ends the source.
        """
        if self._order.is_asked or self._is_begun or self._is_time:
            self._walk()
        self._ask_for_missed()

    # -- walking ------------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        if not self._is_begun:
            number = self._sweep.number + 1 if self._sweep else 1
            self._sweep, self._read = Sweep(number, self._position), []
        before = self._intake.counts.new
        try:
            self._walk_parts()
        finally:
            self.found_late = self._intake.counts.new - before
            self._mark_missing()

    def _walk_parts(self) -> None:
        parts = self._parts()
        with Workers(self._client.list, most=self._order.walks, stop=self._stop) as workers:
            asked: dict[int, _Part] = {}
            for part in islice(parts, self._order.walks):
                self._put(part, next(part.requests), workers, asked)
            try:
                while asked:
                    number, answer = workers.get()
                    part = asked.pop(number)
                    if not self._go_on(part, self._hear(part, answer), workers, asked):
                        for following in islice(parts, 1):
                            self._put(following, next(following.requests), workers, asked)
            finally:  # what ends the walks early ends them where they are
                for part in asked.values():
                    self._finish(part, part.read_to, part.asked_at)

    def _parts(self) -> Iterator[_Part]:
        """Yield what is unread, cut at known seconds; what is older than everything listed needs no walk."""
        sweep = self._sweep
        if sweep is None:
            return
        oldest = self._horizon.oldest
        begins = sweep.goal if oldest is None else min(oldest - 1, sweep.goal)
        cuts = [*marks.boundaries(self._archive, PART), begins]
        for start, end in coverage.unread(self._read, sweep.goal):
            inner = sorted({cut for cut in cuts if (start is None or start < cut) and cut < end})
            for first, last in pairwise([start, *inner, end]):
                if self._budget <= 0 or len(self._missed) >= MOST_MISSING or last is None:
                    return
                part = self._part(first, last)
                if last <= begins:
                    self._finish(part, last, self._horizon.asked_at)
                else:
                    yield part

    def _part(self, start: int | None, end: int) -> _Part:
        held = Held(self._archive, window=PART)
        known = [] if start is None else anchors(self._archive, start + 1)[:TRIED]
        walk = Walk(known, limit=self._order.limit, until=end)
        return _Part(start, end, held, walk, walk.requests(), Missing(held, start, end))

    def _put(
        self, part: _Part, request: Request, workers: Workers[Request, Page | Refusal], asked: dict[int, _Part]
    ) -> None:
        self._budget -= 1
        asked[workers.put(request)] = part

    def _hear(self, part: _Part, answer: Page | Refusal) -> Heard:
        """Keep what a page shows of its part."""
        if isinstance(answer, Refusal):
            return Heard(answer)
        part.asked_at = part.asked_at or answer.server_time
        known = self._intake.known(answer, part.held)
        inside = part.inside(answer)
        self._intake.take(inside, part.held)
        part.missing.show(inside)
        self._observe()
        return Heard(answer, known)

    def _go_on(
        self, part: _Part, heard: Heard, workers: Workers[Request, Page | Refusal], asked: dict[int, _Part]
    ) -> bool:
        """Ask the next question of a part; say whether there was one. A part that the budget ends is claimed so far."""
        try:
            request = part.requests.send(heard)
        except StopIteration:
            self._finish(part, part.read_to, part.asked_at)
            return False
        if self._budget > 0:
            self._put(part, request, workers, asked)
            return True
        self._finish(part, part.read_to, part.asked_at)
        return False

    def _finish(self, part: _Part, read_to: int | None, asked_at: int | None) -> None:
        """Note what of a part has been read, and what of it was missing."""
        if read_to is None or asked_at is None:
            return
        doubts = {second for second in part.walk.doubtful if second <= read_to}
        first = -(2**62) if part.start is None else part.start + 1
        part.held.cover(first, read_to)
        self._examined += sum(1 for _ in part.held.within(first, read_to))
        self._missed += part.missing.up_to(read_to)
        self._spans.append(Span(part.start, read_to, asked_at, tuple(sorted(doubts)), self._sweep))
        reach("run.swept")

    # -- marking ------------------------------------------------------------------------------------------------

    def _mark_missing(self) -> None:
        """Mark what was missing, outside seconds in doubt, unless that were most of what is held (walk 9)."""
        spans = tuple(self._spans)
        doubts = set(coverage.doubtful([*self._archive.spans(self._order.fingerprint), *spans]))
        missed = [(id_, state) for id_, state in self._missed if state.created not in doubts]
        self._insist_on_most(missed)
        known = marks.pending(self._archive)
        for id_, state in missed:
            if id_ not in known:
                self._mark_missed(id_, state)
        if spans or self._intake.has_rows:
            self._cut(spans)
        self._missed = []

    def _insist_on_most(self, missed: Sequence[tuple[str, State]]) -> None:
        """Stop a sweep that would mark most of what is held, and not too old, as missed."""
        unexplained = sum(not self._horizon.explains(state.created or 0) for _, state in missed)
        explained = len(missed) - unexplained
        basis = self._examined if len(self._missed) >= MOST_MISSING else marks.live(self._archive)
        if 2 * unexplained <= basis - explained or self._order.accepts_losses:
            return
        self._spans, self._missed = [], []
        if self._intake.has_rows:
            self._cut(())
        raise IncompleteError(
            f"source {self._archive.source}: {unexplained:,} of {basis - explained:,} completions held are not listed "
            "any more: an emptied or switched project, or zero data retention turned on?",
            hint="nothing was marked; where this is right, run `pipeline sweep --accept-losses`",
        )

    def _mark_missed(self, id_: str, state: State) -> None:
        mark = marks.Missed(self._horizon.asked_at * _MICRO, self._last_seen(state.created))
        self._intake.mark("missed", id_, state.created, state.first_seen, msgspec.json.encode(mark))

    def _last_seen(self, created: int | None) -> int | None:
        """Return when the completion's second was last read before this sweep: it was listed then."""
        spans = self._archive.spans(self._order.fingerprint)
        seen = None if created is None else coverage.last_read(spans, created, before=self._sweep)
        return None if seen is None else seen * _MICRO

    # -- asking for each ----------------------------------------------------------------------------------------

    def _ask_for_missed(self) -> None:
        """Ask for each missed completion itself: not found is gone, anything else is found."""
        waiting = marks.pending(self._archive)
        self.waiting = len(waiting)
        due = list(islice(waiting.values(), max(0, self._budget)))
        with Workers(self._retrieve, most=self._order.walks, stop=self._stop) as workers:
            for answered, answer in workers.all(due):
                self._answered(answered, answer)
                self.waiting -= 1

    def _retrieve(self, missed: marks.Pending) -> Row | Refusal:
        return self._client.retrieve(missed.id)

    def _answered(self, missed: marks.Pending, answer: Row | Refusal) -> None:
        self._budget -= 1
        if not isinstance(answer, Refusal):
            self.unlisted += 1
            page = Page((answer,), False, self._horizon.asked_at)
            self._intake.known(page)
            self._intake.take(page)
            self._intake.mark("found", missed.id, missed.created, missed.first_seen, b"{}")
            return
        gone = marks.Gone(
            gone_at=self._horizon.asked_at * _MICRO,
            reason=self._horizon.reason(missed.created),
            last_seen=missed.mark.last_seen,
            first_missed=missed.mark.first_missed,
        )
        self._intake.mark("gone", missed.id, missed.created, missed.first_seen, msgspec.json.encode(gone))
