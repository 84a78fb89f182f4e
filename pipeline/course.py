"""How the export of one source went: the row of the table ``runs``, the result that the caller gets, the findings."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from pipeline.archive import coverage
from pipeline.errors import IncompleteError, PipelineError, worst
from pipeline.handoff import DATED
from pipeline.horizon import interval
from pipeline.result import Finding, SourceResult
from pipeline.stopping import LimitReachedError, StoppedError
from pipeline.usual import expected, is_unusual
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.archive.intake import Counts
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Tally
    from pipeline.extract.walk import Walk
    from pipeline.handoff import Span
    from pipeline.horizon import Horizon
    from pipeline.messages import Messages
    from pipeline.sweeping import Sweeping
    from pipeline.usual import Past


@dataclass(frozen=True, slots=True)
class Begun:
    """What an export was asked for, and when it began."""

    run_id: str
    fingerprint: str
    overlap: int
    """Seconds."""
    asks_messages: bool
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an export went so far; ``why`` is what ended it early."""

    begun: Begun
    archive: Archive
    why: Exception | None
    walk: Walk
    is_read: bool
    """Whether the walk came to the end of the list."""
    counts: Counts
    tally: Tally
    history: Sequence[Past]
    known_doubts: set[int]
    """Seconds that earlier runs found possibly incomplete."""
    position: int | None
    """How far the runs before had read."""
    lost: tuple[int, int] | None
    """The span in which completions may have expired unseen."""
    is_loss_told: bool
    """Whether an earlier record of this run has it already."""
    longest: int | None
    """The greatest age at which any run saw something listed, this one included."""
    not_looked: str | None
    """Why the source did not tell its oldest completion."""
    newest_shown: int | None
    ends_before_what_is_held: bool
    horizon: Horizon | None
    messages: Messages | None
    sweeping: Sweeping | None

    def record(self, spans: tuple[Span, ...], *, is_end: bool = True) -> bytes:
        """Return the row of the table ``runs`` as JSON, its names those of the table; ``spans`` are written with it.

        What the table has no column for is for later runs (``usual.Past``).
        """
        counts, tally = self.counts, self.tally
        through = coverage.position([*self._spans, *spans])
        why_not = self._why_not(spans)
        return msgspec.json.encode(
            {
                "run_id": self.begun.run_id,
                "started_at": _microseconds(self.begun.at),
                "ended_at": _microseconds(datetime.now(UTC)),
                "data_through": None if through is None else through * 1_000_000,
                "complete": why_not is None,
                "why_not": why_not,
                "new": counts.new,
                "changed": counts.changed,
                "skipped": counts.skipped,
                "largest_lateness": counts.largest_lateness,
                "forgotten": counts.forgotten,
                "messages": counts.messages if self.begun.asks_messages else None,
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
                "longest_horizon": self.longest,
                "is_end": is_end,
            }
        )

    def _horizon_record(self) -> dict[str, int | bool | None]:
        horizon, lost = self.horizon, None if self.is_loss_told else self.lost
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
        if self.horizon is None:
            return None
        return self.horizon.safety(interval(self.history, self.horizon.asked_at))

    @property
    def _messages_waiting(self) -> int | None:
        return self.messages.waiting if self.messages else None

    @property
    def _missed(self) -> int:
        return self.sweeping.waiting if self.sweeping else 0

    @property
    def _doubtful(self) -> list[int]:
        """The seconds that the walk, or the sweep, could not show complete."""
        return sorted({*self.walk.doubtful, *(self.sweeping.doubtful if self.sweeping else ())})

    @property
    def _swept_through(self) -> int | None:
        return coverage.position(coverage.latest_sweep(self._spans)[1])

    def result(self, counts: Counts) -> SourceResult:
        """Return what the caller is told; ``counts`` are of what was written."""
        why, tally = self.why, self.tally
        through = coverage.position(self._spans)
        why_not = self._why_not(())
        return SourceResult(
            source=self.archive.source,
            exit_code=self._exit_code(),
            complete=why_not is None,
            data_through=_moment(through),
            why_not=why_not,
            hint=why.hint or None if isinstance(why, PipelineError) else None,
            limited=isinstance(why, LimitReachedError),
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
            oldest_listed=_moment(self.horizon.oldest) if self.horizon else None,
            horizon=self.horizon.age if self.horizon else None,
            is_horizon_known=self.horizon is not None and self.horizon.is_known,
            safety=self._safety,
            lost=(_moment(self.lost[0]), _moment(self.lost[1])) if self.lost else None,
            pages=tally.pages,
            requests=tally.requests,
            retries=tally.retries,
            bytes=tally.bytes,
            seconds=round(time.monotonic() - self.begun.clock, 3),
            findings=self._findings(),
        )

    def _exit_code(self) -> int:
        """Return 3 to the first run that meets a doubt or a loss; later runs are not failed by it again."""
        met = IncompleteError.exit_code if self.lost or set(self._doubtful) - self.known_doubts else 0
        return worst((met, self.why.exit_code if isinstance(self.why, PipelineError) else 0))

    def _why_not(self, spans: tuple[Span, ...]) -> str | None:
        if isinstance(self.why, StoppedError):
            return (
                f"{self.why} before {'all that follows the walk was done' if self.is_read else 'the end of the list'}"
            )
        if isinstance(self.why, PipelineError):
            return self.why.message
        doubts = coverage.doubtful([*self._spans, *spans])
        return f"possibly incomplete: {_seconds(doubts)}" if doubts else None

    def _findings(self) -> tuple[Finding, ...]:
        found = []
        if self._doubtful:
            found.append(
                Finding(
                    "possibly-incomplete",
                    f"{_seconds(self._doubtful)}: more completions share the second than the server shows at once",
                )
            )
        found += [*self._shortfalls(), *self._losses()]
        lateness = self.counts.largest_lateness or 0
        if 2 * lateness > self.begun.overlap:
            found.append(
                Finding(
                    "lateness",
                    f"a completion became visible {lateness} s late or more, and the overlap is "
                    f"{self.begun.overlap} s: raise it to twice the lateness",
                )
            )
        return tuple(found)

    def _losses(self) -> Iterator[Finding]:
        """Say what may have expired unseen, and what was not where it should be."""
        if self.lost:
            yield Finding(
                "may-be-lost",
                f"completions created between {_seconds([self.lost[0]])} and {_seconds([self.lost[1]])} may have "
                "expired before they were first seen: nothing held is listed any more, and the list begins there",
            )
        elif self.horizon and self.horizon.is_known and (self._safety or 0) <= 0:
            yield Finding("expiry", "the source lists no further back than the time between two runs: run more often")
        if self.not_looked is not None:
            yield Finding("not-looked", f"the source did not tell its oldest completion: {self.not_looked}")
        if self.messages:
            yield from _of_messages(self.messages)
        if self.sweeping:
            yield from _of_sweep(self.sweeping)

    def _shortfalls(self) -> Iterator[Finding]:
        """Say where the list shows less than it should: nothing, an early end, or far less than usual."""
        if self.walk.completed is None:
            return
        if self.newest_shown is None and any(footer.completions for footer in self.archive.footers):
            yield Finding("empty", "the source lists nothing any more; what is held stays")
        elif self.ends_before_what_is_held:
            yield Finding(
                "early-end", "the list ends before completions that are held: deleted, or an old page was shown"
            )
        usual = expected(self.history, self.walk.completed * 1_000_000)
        if is_unusual(self.counts.new, usual):
            yield Finding(
                "less-than-usual",
                f"{self.counts.new:,} new completions, where about {usual:,.0f} are usual for the time since "
                "the run before",
            )

    @property
    def _spans(self) -> list[Span]:
        return self.archive.spans(self.begun.fingerprint)


def _of_messages(messages: Messages) -> Iterator[Finding]:
    """Say of which completions the input messages are not held, and why."""
    if messages.without:
        yield Finding("no-messages", f"{messages.without} completions without input messages at the source")
    if messages.unanswered:
        rest = "; nor for one just listed, so no more were asked for" if messages.is_given_up else ""
        yield Finding(
            "messages-unanswered",
            f"{messages.unanswered} completions whose input messages the server does not give wait: "
            f"{messages.why}{rest}",
        )


def _of_sweep(sweeping: Sweeping) -> Iterator[Finding]:
    """Say what a sweep found, and what it could not find out."""
    if sweeping.found_late:
        yield Finding(
            "found-by-sweep", f"{sweeping.found_late} completions were listed that no run had seen: raise the overlap"
        )
    if sweeping.unlisted:
        yield Finding("unlisted", f"{sweeping.unlisted} completions answer although they are not listed")
    if sweeping.unanswered:
        yield Finding(
            "missed-unanswered",
            f"{sweeping.unanswered} missed completions wait: the server does not say whether they are there: "
            f"{sweeping.why}",
        )
    if sweeping.is_stuck:
        yield Finding(
            "sweep-stuck", "the sweep spent its requests and came no further: raise sweep_requests, or the limit"
        )


def _moment(second: int | None) -> datetime | None:
    return datetime.fromtimestamp(second, UTC) if second is not None and second in DATED else None


def _in_micro(second: int | None) -> int | None:
    return second * 1_000_000 if second is not None and second in DATED else None


def _seconds(seconds: list[int]) -> str:
    """Name seconds in UTC, the first few of many."""
    named = [_named(second) for second in seconds[:5]]
    return ", ".join(named) + (f" and {len(seconds) - 5} more" if len(seconds) > 5 else "")  # noqa: PLR2004 - the same 5


def _named(second: int) -> str:
    moment = _moment(second)
    return f"second {second}" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
