"""The export of one source: walk its list, keep what is new or changed, and write how far that reaches.

A page is kept while the next one is on its way, and claimed when it is kept. Segments are cut by size, so that a crash
costs at most one; the last one carries the record of the run. Whatever ends the walk early, what was kept is written
and its coverage is true; an answer still under way when a stop comes, or a page cannot be kept, is not waited for.
Where the walk came to its end, input messages follow (messages.py) and, when it is time, the sweep (sweeping.py).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage
from pipeline.archive.held import Held, anchors, listed
from pipeline.archive.intake import Counts, Intake
from pipeline.archive.marks import Gone
from pipeline.archive.segments import Reading
from pipeline.course import Begun, Course
from pipeline.errors import IncompleteError, PipelineError, ServerError
from pipeline.extract.meeting import Meeting
from pipeline.extract.messages import Witness
from pipeline.extract.walk import Heard, Refusal, Request, Walk
from pipeline.extract.workers import Workers
from pipeline.failpoints import reach
from pipeline.handoff import DATED, Account, Page, Span
from pipeline.horizon import Horizon, longest, lost
from pipeline.messages import Messages
from pipeline.result import Progress, SourceResult
from pipeline.stopping import LimitReachedError, StoppedError
from pipeline.sweeping import Sweeping, SweepOrder
from pipeline.usual import RUNS, Past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeline.archive.blobs import Blobs
    from pipeline.archive.content import Content
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.handoff import Row
    from pipeline.stopping import Limit

    #: A request, and whether it is one of the walk ahead.
    Question = tuple[bool, Request]

#: Seconds after which what is listed is known everywhere at the source: rows were seen to need 6 s.
SETTLED = 60
#: Seconds that a completion may be ahead of the server's clock; one that is further dates nothing.
AHEAD = 86_400


@dataclass(frozen=True, slots=True)
class Order:
    """What to export from one source."""

    run_id: str
    fingerprint: str
    limit: int
    overlap: int
    """Seconds before the position that are read again, for rows that became visible late."""
    segment_size: int
    """Bytes of bodies after which a segment is cut."""
    content: Content
    """What of the bodies is kept."""
    messages_at_once: int
    """Most requests for input messages in flight; 0 fetches none."""
    sweep: SweepOrder
    from_both_ends: bool = False
    """Whether a list of which nothing is held is walked from its newest end as well."""


class Export:
    """Exports one source into its archive, once.

    ``claim`` is called with the account that answers first and raises ConfigError where another source has it;
    ``observe`` is called after every page, and after the input messages of every completion.
    """

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        order: Order,
        archive: Archive,
        client: Client,
        *,
        blobs: Blobs,
        limit: Limit,
        claim: Callable[[Account], None],
        observe: Callable[[Progress], None],
    ) -> None:
        self._order = order
        self._archive = archive
        self._client = client
        self._claim = claim
        self._observe = observe
        self._begun = Begun(order.run_id, order.fingerprint, order.overlap, bool(order.messages_at_once))
        self._position = archive.position(order.fingerprint)
        self._history = list(islice((past for past in self._past() if past.is_end), RUNS))
        self._longest = longest(self._past())
        self._known_doubts = set(coverage.doubtful(archive.spans(order.fingerprint)))
        self._meeting: Meeting | None = None
        self._lost_in_gap: tuple[int, int] | None = None
        self._set_out()
        self._intake = Intake(
            archive, self._position, segment_size=order.segment_size, blobs=blobs, content=order.content
        )
        self._limit = limit
        self._is_read = False
        self._is_kept = True
        """Whether what the walk claims to have read is kept; else a page of it could not be."""
        self._covered: int | None = None
        self._covered_since: int | None = None
        """The first second that the walk from the newest end has on record."""
        self._asked_at: int | None = None
        self._has_answered = False
        self._newest_shown: int | None = None
        self._shows_any = False
        """Whether the list showed any completion."""
        self._began_with: int | None = None
        self._listed: str | None = None
        self._heard_at = 0
        self._horizon: Horizon | None = None
        self._not_looked: str | None = None
        self._is_loss_told = False
        self._messages: Messages | None = None
        self._sweeping: Sweeping | None = None
        self._settled = 0
        self._written = Counts()

    def run(self, shown: Sequence[Page] = ()) -> SourceResult:
        """Walk to the end of the list, or as far as it goes, and tell how far that was.

        ``shown`` are pages that were seen before the walk: they are kept, and claim nothing.
        """
        why = self._ended_by(lambda: self._walk_all(shown))
        if not self._has_answered:
            return self._course(why).result(self._written)
        why = why or self._ended_by(self._follow)
        unwritten = self._ended_by(lambda: self._cut(why, is_end=True))
        return self._course(why or unwritten).result(self._written)

    @staticmethod
    def _ended_by(work: Callable[[], None]) -> Exception | None:
        """Do a part of the work; return what ended it early."""
        try:
            work()
        except (PipelineError, StoppedError) as error:
            return error
        return None

    def _walk_all(self, shown: Sequence[Page]) -> None:
        self._fill_gap()
        from_both_ends = self._order.from_both_ends and not self._archive.footers
        for page in shown:
            self._known(page)
            self._take(page, from_newest=from_both_ends and page is not shown[0])
        self._read(from_both_ends=from_both_ends)

    def _set_out(self) -> None:
        """Choose where the walk begins: behind the position, as far as the overlap goes."""
        behind = [] if self._position is None else anchors(self._archive, self._read_to - self._order.overlap)
        self._newest_anchor = behind[0].created if behind else None
        self._walk = Walk(behind, limit=self._order.limit)

    @property
    def _read_to(self) -> int:
        """The position, or the newest completion held where that is older: a clock that was wrong hides no late row."""
        newest = max((one.last for one in listed(self._archive) if one.last is not None), default=0)
        return min(self._position or 0, newest)

    def _fill_gap(self) -> None:
        """Read what two walks from both ends left between them when they were interrupted; then set out from there."""
        spans = self._archive.spans(self._order.fingerprint)
        beyond = min((span.start or 0 for span in spans if _is_beyond(span, self._position)), default=None)
        if beyond is None:
            return
        self._walk.until = beyond
        self._read()
        self._cut(None, is_end=False)
        self._lost_in_gap, doubts = self._lost, self._walk.doubtful
        self._position = self._archive.position(self._order.fingerprint)
        self._intake.move(self._position)
        self._covered = None
        self._set_out()
        self._walk.doubtful += doubts

    def _past(self) -> Iterator[Past]:
        """Yield what former runs left on record, newest first."""
        return (msgspec.json.decode(body, type=Past) for _, body in self._archive.runs())

    def _follow(self) -> None:
        """Do what follows a walk that came to its end; messages that fail hold up no sweep."""
        self._is_read = True
        self._limit.end_pages()
        self._look_back()
        witness = Witness(self._client, self._listed)
        self._messages, self._sweeping = self._next_messages(witness), self._next_sweep(witness)
        if self._messages or self._sweeping:
            self._cut(None, is_end=False)  # both work on what is in the archive
        ended = self._ended_by(self._messages.run) if self._messages else None
        if isinstance(ended, StoppedError):
            raise ended
        if self._sweeping:
            self._sweeping.run()
        if ended:
            raise ended
        if self._not_looked is not None and self._order.sweep.is_asked and self._position is not None:
            raise IncompleteError(
                f"source {self._archive.source}: it was not swept: {self._not_looked}", hint="run the sweep again"
            )

    def _look_back(self) -> None:
        """Learn how far back the source lists; a server that refuses this one question fails no run."""
        oldest, asked_at, shows_any = self._began_with, self._heard_at, self._shows_any
        if self._walk.start is not None:
            answer = self._first_rows(1)
            if answer is not None and answer.rows and _oldest(answer) is None:
                answer = self._first_rows(self._order.limit)
            if answer is None:
                return
            oldest, asked_at, shows_any = _oldest(answer), answer.server_time, bool(answer.rows)
            self._listed = self._listed or next((row.id for row in answer.rows if _has_id(row)), None)
        if oldest is None and shows_any:
            self._not_looked = "no completion at the beginning of the list has a date"
            return
        firsts = (footer.first for footer in listed(self._archive))
        held = min((first for first in firsts if first is not None and first in DATED), default=None)
        is_known = oldest is not None and held is not None and held < oldest
        self._horizon = Horizon(asked_at, oldest, is_known, self._longest)

    def _first_rows(self, limit: int) -> Page | None:
        """Ask for the beginning of the list; None where the server does not show it, which is noted."""
        try:
            answer = self._client.list(Request(None, limit))
        except PipelineError as error:
            self._not_looked = error.message
            return None
        if isinstance(answer, Refusal):
            self._not_looked = f"the server refuses to list the oldest completion: {answer.status}"
            return None
        self._intake.known(answer, window=0)
        self._intake.take(answer, is_walk=False)  # what the API shows is kept, whatever it was asked for
        return answer

    def _next_messages(self, witness: Witness) -> Messages | None:
        """Plan the input messages, where they are asked for."""
        if not self._order.messages_at_once:
            return None
        messages = Messages(
            self._archive,
            self._intake,
            self._client,
            self._order.messages_at_once,
            self._limit,
            self._settle,
            self._lose,
            lambda: self._tell(None),
            self._heard_at,
            self._walk.start,
            witness,
        )
        return messages if self._intake.has_rows or not messages.is_settled else None

    def _next_sweep(self, witness: Witness) -> Sweeping | None:
        """Plan the sweep, where it is time for one or one is unfinished."""
        through = coverage.position([*self._archive.spans(self._order.fingerprint), *self._spans()])
        if self._horizon is None or through is None or self._position is None:
            return None
        sweeping = Sweeping(
            self._order.sweep,
            self._archive,
            self._intake,
            self._client,
            position=through,
            horizon=self._horizon,
            witness=witness,
            stop=self._limit,
            cut=self._cut_with,
            observe=lambda: self._tell(None, is_sweep=True),
        )
        return sweeping if sweeping.is_due else None

    def _settle(self, settled: int) -> None:
        """Remember up to where all input messages are, and write what was fetched when it is enough for a segment."""
        self._settled = settled
        if self._intake.is_full:
            self._cut_with(())

    def _lose(self, id_: str, created: int | None) -> None:
        """Mark a completion as gone whose own GET says not found."""
        held = Held(self._archive)
        if created is not None:
            held.cover(created, created)
        if (state := held.state(id_)) is None:
            return
        now = self._heard_at * 1_000_000
        reason = self._horizon.reason(created) if self._horizon else "deleted"
        read = None if created is None else coverage.last_read(self._archive.spans(self._order.fingerprint), created)
        gone = Gone(now, reason, None if read is None else read * 1_000_000, now)
        self._intake.mark("gone", id_, created, state.first_seen, msgspec.json.encode(gone))

    def _read(self, *, from_both_ends: bool = False) -> None:
        """Read from the oldest completion on, and from the newest one back where asked to, until they meet.

        What a page shows is kept while the next one is on its way. What comes from the newest end is archived like
        everything else, and claims nothing before they meet.
        """
        meeting = self._meeting = Meeting(self._walk, limit=self._order.limit, from_both_ends=from_both_ends)
        with Workers(self._ask_either_end, most=2, stop=self._limit.of_the_run) as workers:
            asked = {workers.put(question): question for question in meeting.first()}
            while asked:
                try:
                    number, answer = workers.get()
                except (PipelineError, LimitReachedError):
                    if meeting.is_over:  # the question that was under way when they met
                        break
                    self._keep_what_is_under_way(workers, asked)
                    raise
                is_ahead, request = asked.pop(number)
                if isinstance(answer, PipelineError):
                    meeting.go_alone()
                    continue
                heard = self._known(answer)
                try:
                    following = meeting.hear(heard, is_ahead=is_ahead)
                except PipelineError:
                    self._keep(request, answer, from_newest=not is_ahead)
                    self._keep_what_is_under_way(workers, asked)
                    raise
                self._count(heard)
                if following is not None:
                    asked[workers.put((is_ahead, following))] = is_ahead, following
                self._keep(request, answer, from_newest=not is_ahead)
                if self._intake.is_full:
                    self._cut(None, is_end=False)
        if (met_at := meeting.claim()) is not None:
            self._asked_at = min(met_at, self._asked_at or met_at)

    def _keep_what_is_under_way(
        self, workers: Workers[Question, Page | Refusal | PipelineError], asked: Mapping[int, Question]
    ) -> None:
        """Keep what the other question still brings where one has failed: it is shown, and claims nothing.

        The failure is what ends the walk, also where the other one fails too, or a stop or limit comes meanwhile.
        """
        for number, answer in workers.rest():
            if isinstance(answer, Page):
                is_ahead, request = asked[number]
                with contextlib.suppress(PipelineError):
                    self._known(answer)
                    self._keep(request, answer, from_newest=not is_ahead)

    def _count(self, heard: Heard | None) -> None:
        """Count a page that brought the walk further than the runs before had come: only such may end it."""
        if heard is None or self._walk.completed is None:
            return
        if self._position is None or self._walk.completed > self._position:
            self._limit.count()

    def _ask_either_end(self, question: Question) -> Page | Refusal | PipelineError:
        """Ask; what fails from the newest end only is an answer too: the walk ahead needs no other."""
        is_ahead, request = question
        try:
            return self._client.list(request)
        except (ServerError, IncompleteError) as error:
            if is_ahead:
                raise
            return error

    def _known(self, answer: Page | Refusal) -> Heard:
        """Say what was known of an answer before."""
        if isinstance(answer, Refusal):
            return Heard(answer)
        if not self._has_answered:
            self._claim(self._client.account)
            self._has_answered = True
        self._asked_at = self._asked_at or answer.server_time
        known = self._intake.known(answer)
        self._is_kept = False
        return Heard(answer, known)

    def _keep(self, request: Request, answer: Page | Refusal, *, from_newest: bool = False) -> None:
        """Keep what a page shows, and tell how far the walk is."""
        if isinstance(answer, Page):
            self._take(answer, from_newest=from_newest)
            if request.after is None and request.order == "asc" and self._began_with is None:
                self._began_with = _oldest(answer)
            self._tell(_newest(answer) if request.order == "asc" else self._walk.completed)
        reach("run.page")

    def _take(self, page: Page, *, from_newest: bool = False) -> None:
        """Keep a page's rows."""
        self._intake.take(page, from_newest=from_newest)
        self._heard_at, self._shows_any = page.server_time, self._shows_any or bool(page.rows)
        if (reached := _newest(page)) is not None:
            self._newest_shown = max(reached, self._newest_shown or reached)
        self._listed = _settled(page) or self._listed
        self._is_kept = True

    def _tell(self, reached: int | None, *, is_sweep: bool = False) -> None:
        """Let the caller know how far the export is."""
        counts, tally = self._intake.counts, self._client.tally
        self._observe(
            Progress(
                self._archive.source,
                tally.pages,
                counts.new + counts.changed,
                tally.bytes,
                self._walk.start,
                reached,
                self._heard_at,
                counts.messages,
                is_sweep,
            )
        )

    # -- writing --------------------------------------------------------------------------------------------------

    def _cut(self, why: Exception | None, *, is_end: bool) -> None:
        """Write what was taken with the span that it completes, and the record where the run ends.

        A loss is on record as soon as the position has moved beyond it: should the run be killed, none would tell it.
        """
        spans = self._spans()
        from_newest = self._spans_from_newest()
        course = self._course(why if is_end else IncompleteError("the run has not come to its end"))
        is_told = is_end or (course.lost is not None and not self._is_loss_told)
        run = (self._order.run_id, course.record(spans, is_end=is_end)) if is_told else None
        self._cut_with((*from_newest, *spans), run=run)
        self._is_loss_told = self._is_loss_told or (is_told and course.lost is not None)
        if not is_end:
            self._intake.forget_before(self._walk.completed or 0)
            if self._meeting and self._meeting.back and self._meeting.back.since is not None:
                self._intake.forget_after(self._meeting.back.since)
        if spans:
            self._covered, self._asked_at = spans[-1].end, None

    def _cut_with(self, spans: tuple[Span, ...], *, run: tuple[str, bytes] | None = None) -> None:
        """Write what was taken, and what the segment may claim."""
        reading = Reading(
            self._order.fingerprint, self._client.account, spans, content=self._order.content, settled=self._settled
        )
        self._intake.cut(reading, run=run)
        self._written = replace(self._intake.counts)

    def _spans(self) -> tuple[Span, ...]:
        """Return what was read since the last cut: nothing, or one span that ends no later than it was asked for."""
        if self._walk.completed is None or self._asked_at is None or not self._is_kept:
            return ()
        start = self._walk.start if self._covered is None else self._covered
        end = min(self._walk.completed, self._asked_at)
        if self._ends_before_what_is_held and self._newest_shown is not None:
            end = min(end, self._newest_shown)
        if start is not None and end <= start:
            return ()
        doubts = {second for second in self._walk.doubtful if (start is None or start < second) and second <= end}
        return (Span(start, end, self._asked_at, tuple(sorted(doubts))),)

    def _spans_from_newest(self) -> tuple[Span, ...]:
        """Return what a walk from the newest end has read since the last cut; it moves no position until they meet."""
        back = self._meeting.back if self._meeting and self._is_kept else None
        if self._meeting is None or back is None or back.since is None or self._meeting.asked_at is None:
            return ()
        end = self._meeting.asked_at if self._covered_since is None else self._covered_since - 1
        start = max(back.since, 0) - 1
        if end <= start:
            return ()
        self._covered_since = start + 1
        doubts = tuple(sorted(second for second in back.doubtful if start < second <= end))
        return (Span(start, end, self._meeting.asked_at, doubts),)

    @property
    def _ends_before_what_is_held(self) -> bool:
        """Whether the list showed nothing behind the newest anchor, although something is held there.

        The newest completions were deleted, or the server shows an old page: then nothing newer is claimed.
        """
        if self._newest_anchor is None:
            return False
        return self._newest_shown is None or self._newest_shown <= self._newest_anchor

    @property
    def _lost(self) -> tuple[int, int] | None:
        """The span in which completions may have expired unseen, as far as this walk can tell."""
        return None if self._walk.completed is None else lost(self._position, self._walk.start, self._began_with)

    def _course(self, why: Exception | None) -> Course:
        """Sum up how the export went so far."""
        return Course(
            begun=self._begun,
            archive=self._archive,
            why=why,
            walk=self._walk,
            is_read=self._is_read,
            counts=self._intake.counts,
            tally=self._client.tally,
            history=self._history,
            known_doubts=self._known_doubts,
            position=self._position,
            lost=self._lost_in_gap or self._lost,
            is_loss_told=self._is_loss_told,
            longest=self._horizon.reached if self._horizon else self._longest,
            not_looked=self._not_looked,
            newest_shown=self._newest_shown,
            ends_before_what_is_held=self._ends_before_what_is_held,
            horizon=self._horizon,
            messages=self._messages,
            sweeping=self._sweeping,
        )


def _is_beyond(span: Span, position: int | None) -> bool:
    """Tell whether a run's own walk read a span beyond the position: only from the newest end could it."""
    return span.sweep is None and span.start is not None and (position is None or span.start > position)


def _oldest(page: Page) -> int | None:
    seconds = (row.created for row in page.rows if row.created is not None and row.created in DATED)
    return min((second for second in seconds if second <= page.server_time + AHEAD), default=None)


def _settled(page: Page) -> str | None:
    """Return the last completion of a page that its source has had time to know everywhere."""
    return next(
        (
            row.id
            for row in reversed(page.rows)
            if row.created is not None and row.created <= page.server_time - SETTLED and _has_id(row)
        ),
        None,
    )


def _has_id(row: Row) -> bool:
    return not row.id.startswith("no-id:")


def _newest(page: Page) -> int | None:
    return max((row.created for row in page.rows if row.created is not None), default=None)
