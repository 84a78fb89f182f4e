"""The sweep: everything still listed is walked again, in parts side by side, within a budget of requests.

It finds new versions, completions that no run saw, and those that are not listed any more. These are marked as missed;
when all is read they are asked for one by one, and are gone only after their own GET says not found. What the budget
does not reach waits for the next run.

    unread parts ──walks──▶ rows kept, missing ones marked ──cut──▶ all read? their own GETs ──▶ gone or found ──cut──▶

The guard of walk 9 therefore sees the whole sweep before anything is gone, over however many nights it is spread.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage, marks
from pipeline.archive.held import Held, anchors
from pipeline.archive.missing import Missing
from pipeline.errors import IncompleteError, PipelineError
from pipeline.extract.messages import SEVERAL, Witness, is_not_found, retrieve
from pipeline.extract.walk import Heard, Refusal, Walk
from pipeline.extract.workers import Workers
from pipeline.failpoints import reach
from pipeline.handoff import DATED, Page, Row, Span, Sweep
from pipeline.stopping import LimitReachedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import pyarrow as pa

    from pipeline.archive.held import State
    from pipeline.archive.intake import Intake
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.extract.page import Filters
    from pipeline.extract.walk import Request
    from pipeline.handoff import Anchor
    from pipeline.horizon import Horizon
    from pipeline.stopping import Limit

#: Held completions between two anchors: what one walk of a sweep looks up and compares at a time.
PART = 5_000
#: A part costs a request to begin, and a read of what is held there: smaller ones are not worth it.
LEAST_PART = 500
PARTS_PER_WALK = 4
#: Missing completions that one run marks; more wait for the next.
MOST_MISSING = 100_000
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
        return Page(tuple(row for row in page.rows if self.holds(row)), page.has_more, page.server_time)

    def holds(self, row: Row) -> bool:
        """Whether a row belongs to this part."""
        return row.created is None or ((self.start is None or row.created > self.start) and row.created <= self.end)

    @property
    def read_to(self) -> int | None:
        """The second up to which the part has been read; None where nothing of it has."""
        end = None if self.walk.completed is None else min(self.walk.completed, self.end)
        return None if end is None or (self.start is not None and end <= self.start) else end


class _Expected:
    """Tells which completions held the source's list should show: those read under its settings, or as they are now."""

    def __init__(self, archive: Archive, fingerprint: str, filters: Filters) -> None:
        self._filters = filters
        self._before = archive.last
        self._own = {one.number for one in archive.footers if one.reading.fingerprint == fingerprint}
        self._archive = archive
        self._bodies = lru_cache(maxsize=2)(self._read)

    def __call__(self, id_: str, state: State) -> bool:
        if not self._filters.model and not self._filters.metadata:
            return True
        if state.segment > self._before or state.segment in self._own:
            return True
        return self._filters.admit(Row(id_, state.created, self._bodies(state.segment)[state.row].as_py()))

    def _read(self, number: int) -> pa.ChunkedArray:
        return self._archive.columns(number, ["body"])["body"]


class Sweeping:
    """One run's share of a sweep of one source.

    ``cut`` writes a segment with spans, ``observe`` is called after each page; ``position`` is how far the runs have
    read, ``horizon`` what this run learned of the oldest completion listed, ``witness`` one that is listed.
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
        witness: Witness,
        stop: Limit,
        cut: Callable[[tuple[Span, ...]], None],
        observe: Callable[[], None],
    ) -> None:
        self._order = order
        self._archive = archive
        self._intake = intake
        self._client = client
        self._position = position
        self._horizon = horizon
        self._witness = witness
        self._stop = stop
        self._cut = cut
        self._observe = observe
        self._budget = order.requests
        self._missed: list[tuple[str, State]] = []
        self._beside: dict[str, list[Row]] = {}
        """By id: what a page of one part showed of another, or of none, and what was not known."""
        self._spans: list[Span] = []
        self._sweep, self._read = coverage.latest_sweep(archive.spans(order.fingerprint))
        self._pending = marks.pending(archive)
        self._absent: set[str] = set()
        filters = client._endpoint.filters  # noqa: SLF001 - the client has no other door to them
        self._is_expected = _Expected(archive, order.fingerprint, filters)
        self.found_late = 0
        """Completions that no run had seen."""
        self.doubtful: list[int] = []
        """Seconds that could not be shown complete."""
        self.unlisted = 0
        """Completions that answer for themselves although the list does not show them."""
        self.unanswered = 0
        """Missed completions of which the server did not say whether they are there, for ``why``."""
        self.why = ""
        self.is_stuck = False
        """Whether the budget was spent and brought the sweep no further."""

    @property
    def waiting(self) -> int:
        """Missed completions that a later run asks for."""
        return len(self._pending)

    @property
    def is_due(self) -> bool:
        """Whether there is a sweep to begin, one to go on with, or missed completions to ask for."""
        return self._is_to_walk or bool(self._pending)

    @property
    def _is_to_walk(self) -> bool:
        return self._order.is_asked or self._is_begun or self._is_time

    @property
    def _is_begun(self) -> bool:
        """Whether a sweep has been begun and not ended: what it missed waits until it has read everything."""
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

        What a former sweep missed comes first, and leaves the walks half of the budget. Raises IncompleteError where
        most of what is held would be marked, and what ends the source.
        """
        is_to_walk = self._is_to_walk
        if not self._is_begun:
            self._ask_for_missed(self._budget // 2 if is_to_walk else self._budget)
        if is_to_walk:
            if self._intake.has_rows:
                self._cut(())  # the walks look into the archive for what is held
            self._walk()
            if not self._is_begun:
                self._ask_for_missed(self._budget)

    # -- walking ------------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        if not self._is_begun:
            number = self._sweep.number + 1 if self._sweep else 1
            self._sweep, self._read = Sweep(number, self._position), []
        if self._horizon.oldest is not None:
            self._absent = marks.gone(self._archive, self._horizon.oldest) | self._pending.keys()
        before, budget = self._intake.counts.new, self._budget
        try:
            self._walk_parts()
            self.is_stuck = self._budget < budget and not self._spans
        finally:
            later = self._take_beside()
            self.found_late = self._intake.counts.new - before - later
            self._mark_missing()

    def _walk_parts(self) -> None:
        parts = self._parts()
        with Workers(self._client.list, most=self._order.walks, stop=self._stop.of_the_run) as workers:
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
            except (PipelineError, LimitReachedError):
                for number, answer in workers.rest():  # shown as well: it is kept, and claims nothing
                    with contextlib.suppress(PipelineError):
                        self._hear(asked[number], answer)
                raise
            finally:  # what ends the walks early ends them where they are
                for part in asked.values():
                    self._finish(part, part.read_to, part.asked_at)

    def _take_beside(self) -> int:
        """Keep what pages showed beyond their parts, when no part is under way; return what is new behind the goal.

        Whatever a part was shown of its own is written by then, and found by a look of its own into what is held.
        """
        rows = sorted((row for some in self._beside.values() for row in some), key=lambda row: row.created or 0)
        self._beside = {}
        if not rows or self._sweep is None:
            return 0
        if self._intake.has_rows:
            self._cut(())
        held, counts, behind = Held(self._archive), self._intake.counts, 0
        for row in rows:  # one at a time: between two of them may lie all that is held
            before, page = counts.new, Page((row,), False, self._horizon.asked_at)
            self._intake.known(page, held, window=PART)
            self._intake.take(page, held, is_walk=False)
            behind += counts.new - before if (row.created or 0) > self._sweep.goal else 0
        return behind

    def _parts(self) -> Iterator[_Part]:
        """Yield what is unread, cut at known seconds; what is older than everything listed needs no walk."""
        sweep = self._sweep
        if sweep is None:
            return
        oldest = self._horizon.oldest
        begins = sweep.goal if oldest is None else min(oldest - 1, sweep.goal)
        cuts = sorted([*marks.boundaries(self._archive, self._part_size), begins])
        for start, end in coverage.unread(self._read, sweep.goal):
            inner = sorted({cut for cut in cuts if (start is None or start < cut) and cut < end})
            for first, last in pairwise([start, *inner, end]):
                if self._budget <= 0 or len(self._missed) >= MOST_MISSING or last is None:
                    return
                part = self._part(first, last, next((cut for cut in cuts if cut > last), last))
                if last <= begins:
                    self._finish(part, last, self._horizon.asked_at)
                else:
                    yield part

    @property
    def _part_size(self) -> int:
        """Completions of one part: small enough that all walks have parts until near the end."""
        held = sum(footer.completions for footer in self._archive.footers)
        return max(LEAST_PART, min(PART, held // (PARTS_PER_WALK * self._order.walks)))

    def _part(self, start: int | None, end: int, following: int) -> _Part:
        """Begin a walk between two cuts; its last page shows rows up to the ``following`` one, or little more."""
        anchors_ = self._anchors(start)
        first = -(2**62) if start is None else start + 1
        held = Held(self._archive, stretch=(anchors_[0].created if anchors_ else first, following))
        walk = Walk(anchors_, limit=self._order.limit, until=end)
        return _Part(start, end, held, walk, walk.requests(), Missing(held, start, end))

    def _anchors(self, start: int | None) -> list[Anchor]:
        """Return where the walk of a part may begin: rows that may still be listed."""
        oldest = self._horizon.oldest
        if start is None or oldest is None:
            return []
        return [one for one in anchors(self._archive, start + 1, self._absent) if one.created >= oldest]

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
        for row in answer.rows:
            if row.id not in known and not part.holds(row):
                shown = self._beside.setdefault(row.id, [])
                shown += [row] if not shown or shown[-1].body != row.body else []
        # What was shown of it before comes first, or an older version would be the latest.
        before = [one for row in inside.rows for one in self._beside.pop(row.id, ())]
        self._intake.take(Page(tuple(before), answer.has_more, answer.server_time), part.held, is_walk=False)
        self._intake.take(inside, part.held, is_walk=False)
        part.missing.show(inside)
        for row in inside.rows:
            if row.id in self._pending:
                self._close("found", self._pending[row.id], b"{}")
        if self._intake.is_full:
            self._cut(())
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
        # A name of our own, for want of an id, cannot be asked for; and what has no date lies where no walk begins.
        missed = [
            (id_, state)
            for id_, state in part.missing.up_to(read_to)
            if not id_.startswith("no-id:") and state.created in DATED and self._is_expected(id_, state)
        ]
        self._missed += missed
        self._absent.update(id_ for id_, _ in missed)
        self._spans.append(Span(part.start, read_to, asked_at, tuple(sorted(doubts)), self._sweep))
        self.doubtful += sorted(doubts)
        reach("run.swept")

    # -- marking ------------------------------------------------------------------------------------------------

    def _mark_missing(self) -> None:
        """Mark what was missing, outside seconds in doubt, unless the sweep missed most of what is held (walk 9)."""
        spans = tuple(self._spans)
        doubts = set(coverage.doubtful([*self._archive.spans(self._order.fingerprint), *spans]))
        missed = [
            (id_, state) for id_, state in self._missed if state.created not in doubts and id_ not in self._pending
        ]
        self._missed, self._spans = [], []
        self._insist_on_most([state.created for _, state in missed])
        for id_, state in missed:
            self._mark_missed(id_, state)
        if spans or self._intake.has_rows:
            self._cut(spans)
        self._read = [*self._read, *spans]

    def _insist_on_most(self, missed: list[int | None]) -> None:
        """Stop a sweep that misses, over all nights, most of what is held and should be listed.

        What is too old to be listed counts neither way, as long as the list reaches as far back as it ever did.
        """
        if not missed or self._order.accepts_losses:
            return
        seconds = [*missed, *(one.created for one in self._pending.values())]
        explained = sum(self._horizon.explains(one or 0) for one in seconds) if self._horizon.is_as_ever else 0
        unexplained = len(seconds) - explained
        live = marks.live(self._archive, self._is_expected, enough=2 * unexplained + explained)
        if 2 * unexplained <= live - explained:
            return
        if self._intake.has_rows:
            self._cut(())
        raise IncompleteError(
            f"source {self._archive.source}: {unexplained:,} of {live - explained:,} completions held are not listed "
            "any more: an emptied or switched project, or zero data retention turned on?",
            hint="none was called gone; where this is right, run `pipeline sweep --accept-losses`",
        )

    def _mark_missed(self, id_: str, state: State) -> None:
        mark = marks.Missed(self._horizon.asked_at * _MICRO, self._last_seen(state.created))
        self._intake.mark("missed", id_, state.created, state.first_seen, msgspec.json.encode(mark))
        self._pending[id_] = marks.Pending(id_, state.created, state.first_seen, mark)

    def _last_seen(self, created: int | None) -> int | None:
        """Return when the completion's second was last read before this sweep: it was listed then."""
        spans = self._archive.spans(self._order.fingerprint)
        seen = None if created is None else coverage.last_read(spans, created, before=self._sweep)
        return None if seen is None else seen * _MICRO

    # -- asking for each ----------------------------------------------------------------------------------------

    def _ask_for_missed(self, most: int) -> None:
        """Ask for each missed completion itself: not found is gone, an answer is found, anything else waits."""
        due = list(islice(self._pending.values(), max(0, most)))
        if due and not self._witness.is_known:
            self.unanswered, self.why = len(due), "it does not answer for one that it has just listed either"
            return
        in_a_row = 0
        with Workers(self._retrieve, most=self._order.walks, stop=self._stop) as workers:
            for missed, answer in workers.all(due):
                self._budget -= 1
                in_a_row = 0 if self._settle(missed, answer) else in_a_row + 1
                if in_a_row >= SEVERAL and isinstance(answer, PipelineError):
                    raise answer
                if self._intake.is_full:
                    self._cut(())

    def _retrieve(self, missed: marks.Pending) -> Row | Refusal | PipelineError:
        return retrieve(self._client, missed.id)

    def _settle(self, missed: marks.Pending, answer: Row | Refusal | PipelineError) -> bool:
        """Note what the server says of a missed completion; whether that settles it."""
        if isinstance(answer, PipelineError) or (isinstance(answer, Refusal) and not is_not_found(answer)):
            self.unanswered += 1
            self.why = answer.message or "it refuses the question"
            return False
        if not isinstance(answer, Refusal):
            self.unlisted += 1
            page = Page((answer,), False, self._horizon.asked_at)
            self._intake.known(page)
            self._intake.take(page, is_walk=False)
            self._close("found", missed, b"{}")
            return True
        gone = marks.Gone(
            gone_at=self._horizon.asked_at * _MICRO,
            reason=self._horizon.reason(missed.created),
            last_seen=missed.mark.last_seen,
            first_missed=missed.mark.first_missed,
        )
        self._close("gone", missed, msgspec.json.encode(gone))
        return True

    def _close(self, kind: str, missed: marks.Pending, body: bytes) -> None:
        """Mark that a missed completion waits no more."""
        self._intake.mark(kind, missed.id, missed.created, missed.first_seen, body)
        del self._pending[missed.id]
