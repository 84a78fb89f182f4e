"""What a data folder holds and how fresh it is, read from the archive's footers: no destination is needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.archive import coverage, segments
from pipeline.archive.segments import Archive
from pipeline.folder import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config import Config


@dataclass(frozen=True, slots=True)
class LastRun:
    """The record that a run left in the archive; the rest of its keys are in the table ``runs``."""

    ended_at: int
    """Microseconds since 1970."""
    complete: bool
    why_not: str | None
    horizon: int | None = None
    is_horizon_known: bool | None = None
    messages_waiting: int | None = None
    missed: int | None = None
    lost_from: int | None = None
    lost_to: int | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source stands."""

    source: str
    data_through: datetime | None
    age_seconds: int | None
    """Since ``data_through``; None where nothing is complete yet."""
    complete: bool
    why_not: str | None
    last_run: datetime | None
    last_complete: datetime | None
    """When a run last read the source to its end, with nothing in doubt."""
    versions: int
    """Versions of completions in the archive."""
    segments: int
    horizon_seconds: int | None
    """How far back the source listed when it was last asked."""
    is_horizon_known: bool
    """Whether it ends there; else it may list further back."""
    safety_seconds: int | None
    """What is left before something unseen could expire; None where the horizon is not known."""
    may_be_lost: str | None
    """The spans in which completions may have expired before they were first seen."""
    messages_waiting: int
    missed: int
    is_configured: bool

    def is_older_than(self, seconds: float) -> bool:
        """Tell whether the data end longer ago than ``seconds``, or so long that something unseen may have expired.

        A loss that has happened (``may_be_lost``) is history: it stays shown, and its run ended with 3, but nothing
        that is done today mends it. An alarm that can never end again would hide the next one.
        """
        is_unsafe = self.safety_seconds is not None and self.safety_seconds <= 0
        return is_unsafe or self.age_seconds is None or self.age_seconds > seconds


def status(config: Config, *, now: datetime | None = None) -> list[SourceStatus]:
    """Read how every source stands, those configured and those that only the archive knows.

    Raises FolderError for a folder or segment that is not ours.
    """
    folder = DataFolder(config.data)
    held = segments.sources(folder.archive) if folder.exists else []
    fingerprints = {source.name: source.fingerprint for source in config.sources}
    moment = now or datetime.now(UTC)
    expected = set() if config.is_implied and held else set(fingerprints)
    told = [_of(folder, name, fingerprints.get(name), moment) for name in sorted({*held, *expected})]
    return [one for one in told if one.segments or one.source in expected]  # else only tombstones are left of it


def _of(folder: DataFolder, name: str, fingerprint: str | None, now: datetime) -> SourceStatus:
    archive = Archive(folder.archive, name, scratch=folder.scratch, memory=folder.footers(name))
    known_by = fingerprint or next(
        (one.reading.fingerprint for one in reversed(archive.footers) if one.is_of_the_api), ""
    )
    position = archive.position(known_by)
    last = _last_run(archive)
    doubts = coverage.doubtful(archive.spans(known_by))
    through = None if position is None else datetime.fromtimestamp(position, UTC)
    return SourceStatus(
        source=name,
        data_through=through,
        age_seconds=None if through is None else int((now - through).total_seconds()),
        complete=through is not None and not doubts and last is not None and last.complete,
        why_not="never exported" if last is None else last.why_not,
        last_run=_ended(last),
        last_complete=_ended(next((run for run in _runs(archive) if run.complete), None)),
        versions=sum(footer.completions for footer in archive.footers),
        segments=len(archive.footers),
        **_horizon(archive, last, None if through is None else int((now - through).total_seconds())),
        is_configured=fingerprint is not None,
    )


def _horizon(archive: Archive, last: LastRun | None, age: int | None) -> dict[str, Any]:
    """Say how far back the source lists, and what that leaves; of the last run that could ask."""
    runs = list(_runs(archive))
    asked = next((run for run in runs if run.horizon is not None), None)
    is_known = asked is not None and bool(asked.is_horizon_known)
    horizon = asked.horizon if asked else None
    lost = [(run.lost_from, run.lost_to) for run in reversed(runs) if run.lost_from is not None]
    return {
        "horizon_seconds": horizon,
        "is_horizon_known": is_known,
        "safety_seconds": horizon - age if is_known and horizon is not None and age is not None else None,
        "may_be_lost": "; ".join(f"{_moment(start)} to {_moment(end)}" for start, end in lost) or None,
        "messages_waiting": (last.messages_waiting or 0) if last else 0,
        "missed": (last.missed or 0) if last else 0,
    }


def _moment(micro: int | None) -> str:
    return datetime.fromtimestamp((micro or 0) // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _last_run(archive: Archive) -> LastRun | None:
    """Find the newest record of a run; it is in the last segment, unless a later run was killed."""
    return next(_runs(archive), None)


def _runs(archive: Archive) -> Iterator[LastRun]:
    return (msgspec.json.decode(body, type=LastRun) for _, body in archive.runs())


def _ended(run: LastRun | None) -> datetime | None:
    return None if run is None else datetime.fromtimestamp(run.ended_at // 1_000_000, UTC)
