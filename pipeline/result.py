"""What a run did and found, for people, schedulers and programs: plain, picklable values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError, worst

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact worth the operator's eye."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the export of one source is, after a page, or after the input messages of one completion."""

    source: str
    pages: int
    kept: int
    """Completions kept so far: new and changed."""
    bytes: int
    began: int | None
    """Unix second at which the walk began; None at the beginning of the list."""
    reached: int | None
    """``created`` of the page's last completion."""
    server_time: int
    messages: int = 0
    """Completions whose input messages were kept so far; they come after the walk."""
    is_sweep: bool = False
    """Whether everything is being walked again; it is, from many places at once."""


@dataclass(frozen=True, slots=True)
class SourceResult:
    """What the run did with one source."""

    source: str
    exit_code: int
    complete: bool
    """Whether nothing up to ``data_through`` is in doubt, and the walk came to its end."""
    data_through: datetime | None
    """Every completion created up to here that was visible has been read."""
    why_not: str | None = None
    hint: str | None = None
    limited: bool = False
    """Whether a limit of pages or of time ended it, as was asked: the next run goes on from there."""
    new: int = 0
    changed: int = 0
    skipped: int = 0
    rejected: int = 0
    """Completions received in this run with a value that could not be flattened."""
    largest_lateness: int | None = None
    forgotten: int = 0
    """Completions listed that are not taken in again: they were forgotten."""
    messages: int = 0
    """Completions whose input messages were fetched."""
    messages_waiting: int = 0
    """Completions whose input messages a later run fetches."""
    gone: int = 0
    """Completions found gone from the source."""
    missed: int = 0
    """Completions that a sweep missed, and that a later run asks for one by one."""
    swept_through: datetime | None = None
    """How far the latest sweep has read."""
    oldest_listed: datetime | None = None
    horizon: int | None = None
    """Seconds back that the source still lists."""
    is_horizon_known: bool = False
    """Whether older ones are held, so that the list does end there; else it may go back further."""
    safety: int | None = None
    """Seconds that the next run may be late before something unseen could expire."""
    lost: tuple[datetime | None, datetime | None] | None = None
    """The span in which completions may have expired before they were first seen."""
    pages: int = 0
    requests: int = 0
    """All that were sent, those tried again among them; without the first look, before there is a data folder."""
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0
    """From its first request to its last segment."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class DestinationResult:
    """How far one destination is."""

    destination: str
    exit_code: int
    segments: int = 0
    """Segments loaded in this run, of all sources."""
    completions: int = 0
    """Completions in them."""
    removed: int = 0
    """Files that nothing refers to, removed."""
    error: str | None = None
    hint: str | None = None

    def insist(self) -> None:
        """Raise what stopped it, where something did, with its own exit code."""
        if self.error is not None:
            error = PipelineError(self.error, hint=self.hint or "")
            error.exit_code = self.exit_code
            raise error


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did."""

    run_id: str
    started: datetime
    ended: datetime
    sources: tuple[SourceResult, ...]
    destinations: tuple[DestinationResult, ...] = ()
    published: bool = False
    """Whether a new snapshot was published."""
    findings: tuple[Finding, ...] = ()
    stopped: bool = False
    """Whether the run was asked to stop before it was done."""
    load_seconds: float = 0.0
    """Spent on all destinations behind the walks; what was loaded beside a long walk is not in it."""
    publish_seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """The code that speaks for the whole run (design §8)."""
        codes = [source.exit_code for source in self.sources]
        return worst([*codes, *(destination.exit_code for destination in self.destinations)])

    def as_dict(self) -> dict[str, object]:
        """Return the result as JSON-ready values; times in ISO 8601."""
        return {**asdict(self), "exit_code": self.exit_code}


def refused(source: str, error: PipelineError) -> SourceResult:
    """Tell of a source that could not be asked at all; nothing was written for it."""
    return SourceResult(source, error.exit_code, False, None, why_not=error.message, hint=error.hint or None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written."""

    kind: str
    """What kind of damage it is: the README has the table."""
    where: str
    """The file or table, and the source."""
    message: str
    repair: str
    """The command that mends it, or what to do."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of saved completions."""

    source: str
    new: int
    held: int
    """Held already: left as they are."""
    forgotten: int
    """Not taken in again: they were forgotten."""
    skipped: tuple[tuple[str, str], ...]
    """Where there was no completion, and why."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten."""

    meant: int
    """Completions that were asked for, confirmed or not."""
    held: int
    """Completions that were held and are not any more."""
    not_held: int
    """Ids that were not held; they are refused from now on all the same."""
    blobs: int
    """Blobs that went with their last reference."""
    out_of_reach: tuple[str, ...]
    """Where they may still be: beyond what this program can reach."""
    deleted_upstream: int = 0
    absent_upstream: int = 0
    """Completions that no source had any more."""
    failure: PipelineError | None = None
    """Why some were not deleted at their source, and how to try again; they are forgotten here all the same."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What pushing or pulling the archive did."""

    place: str
    head: int
    segments: int
    """Copied; what was there already is not."""
    blobs: int
    bytes: int
    held: int
    """Segments that are there now."""
    removed: int = 0
    """Objects that were taken away, for what they held was forgotten."""
