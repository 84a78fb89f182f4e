"""What an organization used and was billed, fetched, kept and held beside what we estimate.

    days that are not held, or late    Usage and Costs, into the archive      extract/organization.py
    every destination                  loads them                             catchup.py
    the snapshot                       is published and asked                 cost/reconciliation.py

A difference is never an error. What could not be fetched is told, and leaves what is held to be compared.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline import assemble, forget
from pipeline.archive import buckets
from pipeline.archive.segments import Archive
from pipeline.catchup import CatchUp, Lane
from pipeline.console import counted
from pipeline.cost import reconciliation
from pipeline.cost.period import Period
from pipeline.errors import ConfigError, IncompleteError, PipelineError, UsageError, worst
from pipeline.extract.organization import ROUTES
from pipeline.folder import DataFolder, owned
from pipeline.rebuild import rebuild
from pipeline.reconciled import KEYS, Fetched, Reconciled
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.config import Config, Source
    from pipeline.extract.organization import Organization
    from pipeline.handoff import Bucket
    from pipeline.result import DestinationResult

#: Days after its end for which a day is fetched again: usage is shown hours late, and a bill may be put right over a
#: weekend.
LATE = dt.timedelta(days=3)
#: Days back that a first call fetches: a year is a dozen requests for each source, an odd old completion would be more.
FIRST = dt.timedelta(days=366)
_DAY = dt.timedelta(days=1)


def reconcile(  # noqa: PLR0913 - each has a name
    config: Config,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    by: Iterable[str] = KEYS,
    stop: Stop | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Reconciled:
    """Fetch what is not held of the days that are over, load it, and compare.

    Without days, all from the first completion held to yesterday. Raises ConfigError without an admin key, RefusedError
    where there is none in its place, FolderInUseError while a run has the folder.
    """
    return _Reconciliation(config, tuple(by), stop or Stop(), now).run(since, until)


class _Reconciliation:
    """One call, over all sources."""

    def __init__(self, config: Config, by: tuple[str, ...], stop: Stop, now: Callable[[], dt.datetime]) -> None:
        self._config = config
        self._by = by
        self._stop = stop
        self._now = now
        self._folder = DataFolder(config.data)
        self._notes: list[str] = []
        self._destinations: list[DestinationResult] = []
        self._published = False

    def run(self, since: dt.date | None, until: dt.date | None) -> Reconciled:
        if unknown := [key for key in self._by if key not in KEYS]:
            raise UsageError(f"nothing is told by {', '.join(unknown)}", hint=f"by {', '.join(KEYS)}")
        if not self._config.duckdb:
            raise ConfigError("there is no DuckDB to compare in", hint="set destinations.duckdb = true")
        self._folder.insist()
        with assemble.organization(self._config, self._stop) as organization, self._owned():
            archives = {archive.source: archive for archive in forget.open_all(self._folder)}
            forget.finish(self._config, self._folder, list(archives.values()), self._stop)
            period = self._period(since, until, archives.values())
            fetched = list(self._fetch_all(organization, archives, period))
            self._load(list(archives.values()))
        return self._compare(period, fetched, organization.requests)

    def _owned(self) -> contextlib.AbstractContextManager[int]:
        return owned(self._folder, share=self._config.share == "group")

    def _period(self, since: dt.date | None, until: dt.date | None, archives: Iterable[Archive]) -> Period:
        """Return the days asked for, as far as they are over: a day that is not has half a bill."""
        today = self._now().astimezone(dt.UTC).date()
        until = min(until or today, today)
        firsts = [
            footer.first
            for one in archives
            for footer in one.footers
            if footer.completions and footer.first is not None
        ]
        oldest = max(min(firsts, default=0), _second(today - FIRST))
        first = dt.datetime.fromtimestamp(oldest, dt.UTC).date() if firsts else until - _DAY
        return Period(since or min(first, until - _DAY), until)

    # -- fetch ----------------------------------------------------------------------------------------------------

    def _fetch_all(self, organization: Organization, archives: dict[str, Archive], period: Period) -> Iterator[Fetched]:
        """Fetch every source; two that share a project would both be billed for it, so only the first one is."""
        projects: dict[str, str] = {}
        for source in self._config.sources:
            archive = archives.get(source.name) or Archive(
                self._folder.archive, source.name, scratch=self._folder.scratch
            )
            project = archive.account.project or source.project
            if project is None:
                yield Fetched(
                    source.name,
                    0,
                    IncompleteError.exit_code,
                    f"source {source.name}: its project is not known, so it was not asked about",
                    hint=f"set sources.{source.name}.project; servers that name it tell it to `pipeline run`",
                )
            elif project in projects:
                yield Fetched(
                    source.name,
                    0,
                    IncompleteError.exit_code,
                    f"source {source.name}: its project is that of source {projects[project]}, which is compared",
                    hint="compare both under one source",
                )
            else:
                projects[project] = source.name
                archives[source.name] = archive
                yield self._fetch(organization, archive, source, project, period)

    def _fetch(
        self, organization: Organization, archive: Archive, source: Source, project: str, period: Period
    ) -> Fetched:
        """Fetch the days that one source lacks; what came is durable when this returns, whatever ended it."""
        received: list[Bucket] = []
        errors: list[PipelineError] = []
        moment, held = self._now(), buckets.fetched(archive)
        for kind in ROUTES:  # where one of the two cannot be fetched, the other one still tells something
            try:
                for first, last in _due(kind, held, period):
                    for bucket in organization.days(kind, project, first, last + _DAY):
                        received.append(bucket)  # noqa: PERF402 - one by one: what came before an error is kept
            except PipelineError as error:
                errors.append(error)
        if received:
            buckets.keep(archive, received, moment)
        self._note(source, archive, organization)
        return Fetched(
            source.name,
            len(received),
            worst(error.exit_code for error in errors),
            f"source {source.name}: {errors[0].message}" if errors else None,
            next((error.hint for error in errors if error.hint), None),
        )

    def _note(self, source: Source, archive: Archive, organization: Organization) -> None:
        """Say what should be known of a source when its numbers are read."""
        if source.model or source.metadata:
            self._notes.append(f"source {source.name} has filters: what they leave out counts as not stored")
        known, told = archive.account.organization, organization.name
        if known and told and known != told:
            self._notes.append(f"the admin key answers for organization {told}; {source.name} came from {known}")

    # -- load and compare -----------------------------------------------------------------------------------------

    def _load(self, archives: list[Archive]) -> None:
        """Let every destination catch up, and publish."""
        names = assemble.destination_names(self._config)
        outdated = [name for name in names if assemble.is_outdated(name, self._config, self._folder)]
        self._destinations += rebuild(outdated, archives, self._config, self._folder, self._stop)
        with contextlib.ExitStack() as opened:
            lanes = [
                Lane(opened.enter_context(assemble.destination(name, self._config, self._folder))) for name in names
            ]
            catch_up = CatchUp(lanes, self._stop, self._config.logprobs)
            for archive in archives:
                catch_up.load(archive)
            self._destinations += [lane.result() for lane in lanes]
        if not any(done.error for done in self._destinations if done.destination == "duckdb"):
            self._published = assemble.publish(self._config, self._folder).published

    def _compare(self, period: Period, fetched: list[Fetched], requests: int) -> Reconciled:
        condition = f"day >= DATE '{period.since}' AND day < DATE '{period.until}'"
        with assemble.asking(self._config) as ask:
            answer = ask(reconciliation.totals(self._by, condition))
            *rows, whole = list(answer.rows)
            ((foreign,),) = ask(reconciliation.foreign(condition)).rows
        columns = answer.columns[:-1]
        total = dict(zip(columns, whole, strict=False))
        if total["days_not_compared"]:
            days = counted(total["days_not_compared"], "day")
            self._notes.append(f"{days} not compared, in part or whole: no costs of them are held")
        if foreign:
            self._notes.append(f"{counted(foreign, 'line item')} in another currency left out")
        return Reconciled(
            period,
            self._by,
            columns,
            tuple(row[:-1] for row in rows),
            {name: value for name, value in total.items() if name not in self._by},
            tuple(fetched),
            requests,
            tuple(self._notes),
            tuple(self._destinations),
            self._published,
        )


def _due(
    kind: str, held: Mapping[tuple[str, dt.date], dt.datetime], period: Period
) -> Iterator[tuple[dt.date, dt.date]]:
    """Yield stretches of days to fetch: those not held, and those fetched when more may yet have come."""
    days = (period.since + number * _DAY for number in range(period.days))
    due = [day for day in days if not _is_settled(day, held.get((kind, day)))]
    edges = [place for place in range(1, len(due)) if due[place] - due[place - 1] > _DAY]
    for start, end in pairwise([0, *edges, len(due)]):
        if due:
            yield due[start], due[end - 1]


def _is_settled(day: dt.date, fetched: dt.datetime | None) -> bool:
    """Tell whether a day was fetched when nothing more was to come."""
    return fetched is not None and fetched.timestamp() >= _second(day + _DAY) + LATE.total_seconds()


def _second(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())
