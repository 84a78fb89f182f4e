"""The export of one source: walk its list, keep what is new or changed, and write how far that reaches.

Every page is kept before the next question is asked. Segments are cut by size, so that a crash costs at most one; the
last one carries the record of the run. Whatever ends the walk early, what was read is kept and its coverage is true.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage
from pipeline.archive.held import anchors
from pipeline.archive.intake import Counts, Intake
from pipeline.archive.segments import Reading
from pipeline.errors import IncompleteError, PipelineError, worst
from pipeline.extract.walk import Heard, Refusal, Walk
from pipeline.failpoints import reach
from pipeline.handoff import Account, Page, Span
from pipeline.result import Finding, Progress, SourceResult
from pipeline.stopping import StoppedError
from pipeline.usual import RUNS, Past, expected, is_unusual
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client


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


class Export:
    """Exports one source into its archive, once.

    ``claim`` is called with the account that answers first and raises ConfigError where another source has it;
    ``observe`` is called after every page.
    """

    def __init__(
        self,
        order: Order,
        archive: Archive,
        client: Client,
        *,
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
        self._intake = Intake(archive, self._position, segment_size=order.segment_size)
        self._covered: int | None = None
        self._asked_at: int | None = None
        self._has_answered = False
        self._newest_shown: int | None = None
        self._written = Counts()

    def run(self, shown: Iterable[Page] = ()) -> SourceResult:
        """Walk to the end of the list, or as far as it goes, and tell how far that was.

        ``shown`` are pages that were seen before the walk: they are kept, and claim nothing.
        """
        why: Exception | None = None
        try:
            for page in shown:
                self._keep(page)
            self._read()
        except (PipelineError, StoppedError) as error:
            why = error
        return self._result(self._finish(why))

    def _finish(self, why: Exception | None) -> Exception | None:
        """Write what is left, unless nothing was ever answered; return what ended the walk early."""
        if not self._has_answered:
            return why
        try:
            self._cut(why, is_end=True)
        except PipelineError as error:
            return why or error
        return why

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
        if (reached := _newest(page)) is not None:
            self._newest_shown = max(reached, self._newest_shown or reached)
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
        reading = Reading(self._order.fingerprint, self._client.account, spans)
        if is_end:
            self._intake.cut(reading, run=(self._order.run_id, self._run_record(why, spans)))
        else:
            self._intake.cut(reading)
            self._intake.forget_before(self._walk.completed or 0)
        self._written = replace(self._intake.counts)
        if spans:
            self._covered, self._asked_at = spans[-1].end, None

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
                "pages": tally.pages,
                "retries": tally.retries,
                "bytes": tally.bytes,
                "findings": [asdict(finding) for finding in self._findings()],
                "version": __version__,
            }
        )

    # -- telling --------------------------------------------------------------------------------------------------

    def _result(self, why: Exception | None) -> SourceResult:
        counts, tally = self._written, self._client.tally
        through = self._archive.position(self._order.fingerprint)
        why_not = self._why_not(why, ())
        return SourceResult(
            source=self._archive.source,
            exit_code=self._exit_code(why),
            complete=why_not is None,
            data_through=None if through is None else datetime.fromtimestamp(through, UTC),
            why_not=why_not,
            hint=why.hint or None if isinstance(why, PipelineError) else None,
            new=counts.new,
            changed=counts.changed,
            skipped=counts.skipped,
            largest_lateness=counts.largest_lateness,
            pages=tally.pages,
            retries=tally.retries,
            bytes=tally.bytes,
            seconds=round(time.monotonic() - self._clock, 3),
            findings=self._findings(),
        )

    def _exit_code(self, why: Exception | None) -> int:
        """Return 3 to the first run that meets a second in doubt; later runs are not failed by it again."""
        met = IncompleteError.exit_code if set(self._walk.doubtful) - self._known_doubts else 0
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
        found += self._shortfalls()
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


def _newest(page: Page) -> int | None:
    return max((row.created for row in page.rows if row.created is not None), default=None)


def _seconds(seconds: list[int]) -> str:
    """Name seconds in UTC, the first few of many."""
    named = [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in seconds[:5]]
    return ", ".join(named) + (f" and {len(seconds) - 5} more" if len(seconds) > 5 else "")  # noqa: PLR2004 - the same 5


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
