"""What did not work, and since when: kept from run to run, until it works again and a while longer.

The archive's own records tell how each export ended. This file also tells of what never came that far: a source that
could not be asked, a destination that could not load, a snapshot that could not be published.
"""

from __future__ import annotations

import contextlib
from datetime import datetime  # noqa: TC003 - msgspec reads it
from typing import TYPE_CHECKING

import msgspec

from pipeline import files
from pipeline.errors import FolderError, PipelineError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.folder import DataFolder
    from pipeline.result import DestinationResult, RunResult, SourceResult

#: Troubles remembered: what is over makes room first.
MOST = 20
#: The place of what ended a run as a whole.
_RUN = "run"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One place where runs failed, from the first of them to the one after which it was over."""

    place: str
    """``source NAME``, the name of a destination, ``snapshot``, or ``run`` for all of it."""
    since: datetime
    """Start of the first run that failed there."""
    last: datetime
    """Start of the latest one."""
    runs: int
    """How many failed, one after the other."""
    exit_code: int
    what: str
    kept: str
    """What the latest of them could do nevertheless."""
    hint: str | None
    over: datetime | None = None
    """Start of the run in which it worked again; None while it does not."""


class _Told(msgspec.Struct, frozen=True):
    """How one place fared in one run."""

    place: str
    exit_code: int
    what: str = ""
    kept: str = ""
    hint: str | None = None


def read(folder: DataFolder) -> list[Trouble]:
    """Return what is remembered, the latest first; nothing where there was no trouble yet.

    Raises FolderError where the file is not ours, and RefusedError where it is not for us to read.
    """
    try:
        return msgspec.json.decode(folder.troubles.read_bytes(), type=list[Trouble])
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise RefusedError(f"not allowed to read {folder.troubles}", hint="run as its owner") from error
    except msgspec.MsgspecError as error:
        raise FolderError(
            f"{folder.troubles} cannot be read: {error}", hint="delete it: it tells of former runs only"
        ) from error


def note(folder: DataFolder, result: RunResult) -> None:
    """Remember what a run tells, whose lock is held; a full disk, or a file that is not ours, does not stop the run."""
    _write(folder, [*_of_sources(result), *_of_destinations(result), _Told(_RUN, 0)], result.started)


def note_end(folder: DataFolder, error: PipelineError, started: datetime) -> None:
    """Remember what ended a run as a whole."""
    _write(folder, [_Told(_RUN, error.exit_code, error.message, "what was held before", error.hint or None)], started)


def _write(folder: DataFolder, told: Sequence[_Told], started: datetime) -> None:
    with contextlib.suppress(OSError, PipelineError):
        known = read(folder)
        if (now := after(known, told, started)) != known:
            files.write_whole(folder.troubles, msgspec.json.encode(now), scratch=folder.scratch)


def after(known: Sequence[Trouble], told: Sequence[_Told], started: datetime) -> list[Trouble]:
    """Say what is remembered after a run, of what was remembered before and what it tells; pure.

    A place of which it tells nothing stays as it is.
    """
    fared = {one.place: one for one in told}
    now = [_gone_on(one, fared.pop(one.place), started) if _is_told(one, fared) else one for one in known]
    now += [_begun(one, started) for one in fared.values() if one.exit_code]
    return sorted(now, key=lambda one: (one.over is None, one.last), reverse=True)[:MOST]


def _is_told(known: Trouble, fared: dict[str, _Told]) -> bool:
    return known.over is None and known.place in fared


def _gone_on(known: Trouble, told: _Told, started: datetime) -> Trouble:
    if not told.exit_code:
        return msgspec.structs.replace(known, over=started)
    return msgspec.structs.replace(_begun(told, started), since=known.since, runs=known.runs + 1)


def _begun(told: _Told, started: datetime) -> Trouble:
    return Trouble(
        place=told.place,
        since=started,
        last=started,
        runs=1,
        exit_code=told.exit_code,
        what=told.what,
        kept=told.kept,
        hint=told.hint,
    )


def _of_sources(result: RunResult) -> Iterator[_Told]:
    """Say how each source fared; one that a stop cut short says nothing."""
    for source in result.sources:
        if source.exit_code or source.complete or not result.stopped:
            place = f"source {source.source}"
            what = (source.why_not or "").removeprefix(f"{place}: ") or "; ".join(
                finding.message for finding in source.findings
            )
            yield _Told(place, source.exit_code, what, _kept(source), source.hint)


def _kept(source: SourceResult) -> str:
    through = (
        "nothing complete yet" if source.data_through is None else f"complete through {source.data_through:%F %T} UTC"
    )
    return f"{source.new:,} new, {source.changed:,} changed, {through}"


def _of_destinations(result: RunResult) -> Iterator[_Told]:
    """Say how each destination fared; the snapshot did where DuckDB did and nothing is said of it."""
    told = {one.destination: one for one in result.destinations}
    yield from (_Told(name, one.exit_code, one.error or "", _loaded(one), one.hint) for name, one in told.items())
    if "duckdb" in told and not told["duckdb"].exit_code and "snapshot" not in told:
        yield _Told("snapshot", 0)


def _loaded(destination: DestinationResult) -> str:
    return f"{destination.segments:,} segments loaded; the archive has all, and readers see what was there before"
