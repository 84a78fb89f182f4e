"""The export of one source: walk its list, keep what is new or changed, and write how far that reaches.

Every page is kept before the next question is asked. Segments are cut by size, so that a crash costs at most one; the
last one carries the record of the run. Whatever ends the walk early, what was read is kept and its coverage is true.
Where the walk came to its end, input messages follow (messages.py) and, when it is time, the sweep (sweeping.py).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage
from pipeline.archive.held import Held, anchors, listed
from pipeline.archive.intake import Counts, Intake
from pipeline.archive.marks import Gone
from pipeline.archive.segments import Reading
from pipeline.errors import IncompleteError, PipelineError, worst
from pipeline.extract.walk import Heard, Refusal, Request, Walk
from pipeline.failpoints import reach
from pipeline.handoff import Account, Page, Span
from pipeline.horizon import Horizon, interval, longest
from pipeline.messages import Messages
from pipeline.result import Finding, Progress, SourceResult
from pipeline.stopping import StoppedError
from pipeline.sweeping import Sweeping, SweepOrder
from pipeline.usual import RUNS, Past, expected, is_unusual
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.archive.blobs import Blobs
    from pipeline.archive.content import Content
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.stopping import Stop


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


class Export:
    """Exports one source into its archive, once.

    ``claim`` is called with the account that answers first and raises ConfigError where another source has it;
    ``observe`` is called after every page.
    """

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        order: Order,
        archive: Archive,
        client: Client,
        *,
        blobs: Blobs,
        stop: Stop,
        claim: Callable[[Account], None],
        observe: Callable[[Progress], None],
    ) -> None:
        self._order = order
        self._archive = archive
        self._client = client
        self._claim = claim
        self._observe = observe
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._position = archive.position(order.fingerprint)
        self._history = [msgspec.json.decode(body, type=Past) for _, body in islice(archive.runs(), RUNS)]
        self._known_doubts = set(coverage.doubtful(archive.spans(order.fingerprint)))
        behind = [] if self._position is None else anchors(archive, self._position - order.overlap)
        self._newest_anchor = behind[0].created if behind else None
        self._walk = Walk(behind, limit=order.limit)
        self._intake = Intake(
            archive, self._position, segment_size=order.segment_size, blobs=blobs, content=order.content
        )
        self._stop = stop
        self._covered: int | None = None
        self._asked_at: int | None = None
        self._has_answered = False
        self._newest_shown: int | None = None
        self._oldest_shown: int | None = None
        self._heard_at = 0
        self._horizon: Horizon | None = None
        self._messages: Messages | None = None
        self._sweeping: Sweeping | None = None
        self._settled = 0
        self._written = Counts()

    def run(self, shown: Iterable[Page] = ()) -> SourceResult:
        """Walk to the end of the list, or as far as it goes, and tell how far that was.

        ``shown`` are pages that were seen before the walk: they are kept, and claim nothing.
        """
        why = self._ended_by(lambda: self._walk_all(shown))
        if not self._has_answered:
            return self._result(why)
        why = why or self._ended_by(self._follow)
        unwritten = self._ended_by(lambda: self._cut(why, is_end=True))
        return self._result(why or unwritten)

    @staticmethod
    def _ended_by(work: Callable[[], None]) -> Exception | None:
        """Do a part of the work; return what ended it early."""
        try:
            work()
        except (PipelineError, StoppedError) as error:
            return error
        return None

    def _walk_all(self, shown: Iterable[Page]) -> None:
        for page in shown:
            self._keep(page)
        self._read()

    def _follow(self) -> None:
        """Do what follows a walk that came to its end."""
        self._look_back()
        self._messages, self._sweeping = self._next_messages(), self._next_sweep()
        if self._messages or self._sweeping:
            self._cut(None, is_end=False)  # both work on what is in the archive
        if self._messages:
            self._messages.run()
        if self._sweeping:
            self._sweeping.run()

    def _look_back(self) -> None:
        """Learn how far back the source lists; a server that refuses this one question fails nothing."""
        oldest, asked_at = self._oldest_shown, self._heard_at
        if self._walk.start is not None:
            try:
                answer = self._client.list(Request(None, 1))
            except PipelineError:
                return
            if isinstance(answer, Refusal):
                return
            self._intake.known(answer)
            self._intake.take(answer)  # what the API shows is kept, whatever it was asked for
            oldest, asked_at = _oldest(answer), answer.server_time
        held = min((footer.first for footer in listed(self._archive) if footer.first is not None), default=None)
        is_known = oldest is not None and held is not None and held < oldest
        self._horizon = Horizon(asked_at, oldest, is_known, longest(self._history))

    def _next_messages(self) -> Messages | None:
        """Plan the input messages, where they are asked for."""
        if not self._order.messages_at_once:
            return None
        messages = Messages(
            self._archive,
            self._intake,
            self._client,
            self._order.messages_at_once,
            self._stop,
            self._settle,
            self._lose,
            self._heard_at,
        )
        return messages if self._intake.has_rows or not messages.is_settled else None

    def _next_sweep(self) -> Sweeping | None:
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
            stop=self._stop,
            cut=self._cut_with,
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

    def _read(self) -> None:
        requests = self._walk.requests()
        heard = None
        while True:
            try:
                request = next(requests) if heard is None else requests.send(heard)
            except StopIteration:
                return
            if self._intake.is_full:
                self._cut(None, is_end=False)
            answer = self._client.list(request)
            if isinstance(answer, Refusal):
                heard = Heard(answer)
            else:
                heard = self._keep(answer)
                self._observe(self._progress(answer))
            reach("run.page")

    def _keep(self, page: Page) -> Heard:
        """Keep a page's rows, and answer what was known of them before."""
        if not self._has_answered:
            self._claim(self._client.account)
            self._has_answered = True
        self._asked_at = self._asked_at or page.server_time
        known = self._intake.known(page)
        self._intake.take(page)
        self._heard_at = page.server_time
        if (reached := _newest(page)) is not None:
            self._newest_shown = max(reached, self._newest_shown or reached)
        if (began := _oldest(page)) is not None:
            self._oldest_shown = began if self._oldest_shown is None else min(began, self._oldest_shown)
        return Heard(page, known)

    def _progress(self, page: Page) -> Progress:
        counts, tally = self._intake.counts, self._client.tally
        kept = counts.new + counts.changed
        return Progress(
            self._archive.source, tally.pages, kept, tally.bytes, self._walk.start, _newest(page), page.server_time
        )

    # -- writing --------------------------------------------------------------------------------------------------

    def _cut(self, why: Exception | None, *, is_end: bool) -> None:
        """Write what was taken with the span that it completes."""
        spans = self._spans()
        self._cut_with(spans, run=(self._order.run_id, self._run_record(why, spans)) if is_end else None)
        if not is_end:
            self._intake.forget_before(self._walk.completed or 0)
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
        if self._walk.completed is None or self._asked_at is None:
            return ()
        start = self._walk.start if self._covered is None else self._covered
        end = min(self._walk.completed, self._asked_at)
        if self._ends_before_what_is_held and self._newest_shown is not None:
            end = min(end, self._newest_shown)
        if start is not None and end <= start:
            return ()
        doubts = {second for second in self._walk.doubtful if (start is None or start < second) and second <= end}
        return (Span(start, end, self._asked_at, tuple(sorted(doubts))),)

    @property
    def _ends_before_what_is_held(self) -> bool:
        """Whether the list showed nothing behind the newest anchor, although something is held there.

        The newest completions were deleted, or the server shows an old page: then nothing newer is claimed.
        """
        if self._newest_anchor is None:
            return False
        return self._newest_shown is None or self._newest_shown <= self._newest_anchor

    def _run_record(self, why: Exception | None, spans: tuple[Span, ...]) -> bytes:
        """Make the row of the table ``runs``; its names are the table's."""
        counts, tally = self._intake.counts, self._client.tally
        through = coverage.position([*self._archive.spans(self._order.fingerprint), *spans])
        why_not = self._why_not(why, spans)
        return msgspec.json.encode(
            {
                "run_id": self._order.run_id,
                "started_at": _microseconds(self._started),
                "ended_at": _microseconds(datetime.now(UTC)),
                "data_through": None if through is None else through * 1_000_000,
                "complete": why_not is None,
                "why_not": why_not,
                "new": counts.new,
                "changed": counts.changed,
                "skipped": counts.skipped,
                "largest_lateness": counts.largest_lateness,
                "forgotten": counts.forgotten,
                "messages": counts.messages if self._order.messages_at_once else None,
                "messages_waiting": self._messages_waiting,
                "gone": counts.gone,
                "missed": self._missed,
                "swept_through": _in_micro(self._swept_through),
                **self._horizon_record(),
                "pages": tally.pages,
                "retries": tally.retries,
                "bytes": tally.bytes,
                "findings": [asdict(finding) for finding in self._findings()],
                "version": __version__,
            }
        )

    def _horizon_record(self) -> dict[str, int | bool | None]:
        horizon, lost = self._horizon, self._lost
        return {
            "oldest_listed": _in_micro(horizon.oldest) if horizon else None,
            "horizon": horizon.age if horizon else None,
            "is_horizon_known": horizon.is_known if horizon else None,
            "safety": self._safety,
            "lost_from": _in_micro(lost[0]) if lost else None,
            "lost_to": _in_micro(lost[1]) if lost else None,
        }

    @property
    def _safety(self) -> int | None:
        return self._horizon.safety(interval(self._history)) if self._horizon else None

    @property
    def _lost(self) -> tuple[int, int] | None:
        return self._horizon.lost(self._position, self._walk.start) if self._horizon else None

    @property
    def _messages_waiting(self) -> int | None:
        return self._messages.waiting if self._messages else None

    @property
    def _missed(self) -> int:
        return self._sweeping.waiting if self._sweeping else 0

    @property
    def _swept_through(self) -> int | None:
        return coverage.position(coverage.latest_sweep(self._archive.spans(self._order.fingerprint))[1])

    # -- telling --------------------------------------------------------------------------------------------------

    def _result(self, why: Exception | None) -> SourceResult:
        counts, tally = self._written, self._client.tally
        through = self._archive.position(self._order.fingerprint)
        why_not = self._why_not(why, ())
        return SourceResult(
            source=self._archive.source,
            exit_code=self._exit_code(why),
            complete=why_not is None,
            data_through=_moment(through),
            why_not=why_not,
            hint=why.hint or None if isinstance(why, PipelineError) else None,
            new=counts.new,
            changed=counts.changed,
            skipped=counts.skipped,
            largest_lateness=counts.largest_lateness,
            forgotten=counts.forgotten,
            messages=counts.messages,
            messages_waiting=self._messages_waiting or 0,
            gone=counts.gone,
            missed=self._missed,
            swept_through=_moment(self._swept_through),
            oldest_listed=_moment(self._horizon.oldest) if self._horizon else None,
            horizon=self._horizon.age if self._horizon else None,
            is_horizon_known=self._horizon is not None and self._horizon.is_known,
            safety=self._safety,
            lost=(_moment(self._lost[0]), _moment(self._lost[1])) if self._lost else None,
            pages=tally.pages,
            retries=tally.retries,
            bytes=tally.bytes,
            seconds=round(time.monotonic() - self._clock, 3),
            findings=self._findings(),
        )

    def _exit_code(self, why: Exception | None) -> int:
        """Return 3 to the first run that meets a doubt or a loss; later runs are not failed by it again."""
        met = IncompleteError.exit_code if self._lost or set(self._walk.doubtful) - self._known_doubts else 0
        return worst((met, why.exit_code if isinstance(why, PipelineError) else 0))

    def _why_not(self, why: Exception | None, spans: tuple[Span, ...]) -> str | None:
        if isinstance(why, StoppedError):
            return "the run was asked to stop before the end of the list"
        if isinstance(why, PipelineError):
            return why.message
        doubts = coverage.doubtful([*self._archive.spans(self._order.fingerprint), *spans])
        return f"possibly incomplete: {_seconds(doubts)}" if doubts else None

    def _findings(self) -> tuple[Finding, ...]:
        found = []
        if self._walk.doubtful:
            found.append(
                Finding(
                    "possibly-incomplete",
                    f"{_seconds(self._walk.doubtful)}: more completions share the second than the server shows at once",
                )
            )
        found += [*self._shortfalls(), *self._losses()]
        lateness = self._intake.counts.largest_lateness or 0
        if 2 * lateness > self._order.overlap:
            found.append(
                Finding(
                    "lateness",
                    f"a completion became visible {lateness} s late or more, and the overlap is "
                    f"{self._order.overlap} s: raise it to twice the lateness",
                )
            )
        return tuple(found)

    def _losses(self) -> Iterator[Finding]:
        """Say what may have expired unseen, and what was not where it should be."""
        if self._lost:
            yield Finding(
                "may-be-lost",
                f"completions created between {_seconds([self._lost[0]])} and {_seconds([self._lost[1]])} may have "
                "expired before they were first seen: nothing held is listed any more, and the list begins there",
            )
        elif self._horizon and self._horizon.is_known and (self._safety or 0) <= 0:
            yield Finding("expiry", "the source lists no further back than the time between two runs: run more often")
        if self._messages and self._messages.without:
            yield Finding("no-messages", f"{self._messages.without} completions without input messages at the source")
        if self._sweeping and self._sweeping.found_late:
            yield Finding(
                "found-by-sweep",
                f"{self._sweeping.found_late} completions were listed that no run had seen: raise the overlap",
            )
        if self._sweeping and self._sweeping.unlisted:
            yield Finding("unlisted", f"{self._sweeping.unlisted} completions answer although they are not listed")

    def _shortfalls(self) -> Iterator[Finding]:
        """Say where the list shows less than it should: nothing, an early end, or far less than usual."""
        if self._walk.completed is None:
            return
        if self._newest_shown is None and any(footer.completions for footer in self._archive.footers):
            yield Finding("empty", "the source lists nothing any more; what is held stays")
        elif self._ends_before_what_is_held:
            yield Finding(
                "early-end", "the list ends before completions that are held: deleted, or an old page was shown"
            )
        usual = expected(self._history, self._walk.completed * 1_000_000)
        if is_unusual(self._intake.counts.new, usual):
            yield Finding(
                "less-than-usual",
                f"{self._intake.counts.new:,} new completions, where about {usual:,.0f} are usual for the time since "
                "the run before",
            )


def _oldest(page: Page) -> int | None:
    return min((row.created for row in page.rows if row.created is not None), default=None)


def _moment(second: int | None) -> datetime | None:
    return None if second is None else datetime.fromtimestamp(second, UTC)


def _in_micro(second: int | None) -> int | None:
    return None if second is None else second * 1_000_000


def _newest(page: Page) -> int | None:
    return max((row.created for row in page.rows if row.created is not None), default=None)


def _seconds(seconds: list[int]) -> str:
    """Name seconds in UTC, the first few of many."""
    named = [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in seconds[:5]]
    return ", ".join(named) + (f" and {len(seconds) - 5} more" if len(seconds) > 5 else "")  # noqa: PLR2004 - the same 5


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
