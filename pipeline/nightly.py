"""The nightly loop, and the first file to read: export every source, let destinations catch up, publish.

    each source        walks its list into the archive          export.py
    each destination   loads the segments it does not hold      catchup.py; in a long walk beside it, beside.py
    at last            the snapshot is published

A failing source or destination does not stop the others; the result tells of each.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline import assemble, files, forget, tracing, troubles
from pipeline.archive import segments
from pipeline.archive.segments import Archive
from pipeline.beside import Beside
from pipeline.catchup import CatchUp, Lane
from pipeline.errors import ConfigError, FolderError, IncompleteError, PipelineError, worst
from pipeline.export import Export, Order
from pipeline.failpoints import reach
from pipeline.folder import DataFolder, owned
from pipeline.preview import estimate, look
from pipeline.rebuild import rebuild
from pipeline.result import DestinationResult, Finding, RunResult, SourceResult, refused
from pipeline.stopping import Limit, Stop, StoppedError
from pipeline.sweeping import SweepOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.beside import Loaded
    from pipeline.config import Config, Source
    from pipeline.extract.retry import Retry
    from pipeline.handoff import Account
    from pipeline.preview import Ends, Preview
    from pipeline.result import Progress


#: Requests from which on a first export walks from both ends, where one takes so many seconds: nearer servers leave
#: nothing to gain, for the work between two answers takes longer.
LONG, SLOW = 20, 0.03


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a run besides the settings."""

    sweep: bool = False
    """Sweep now, however long ago the last one was."""
    accepts_losses: bool = False
    """Let a sweep mark most of what is held as missed."""
    only: tuple[str, ...] = ()
    """The sources to ask; by default all. What the others have archived is loaded and published too."""
    max_pages: int | None = None
    """Most pages of a source's walk beyond what earlier runs had read, and most of its sweep."""
    max_runtime: float | None = None
    """Seconds after which no more is asked. Every source has its share, and gets further, if by one page only."""


def export(  # noqa: PLR0913 - each has a name
    config: Config,
    *,
    asked: Asked | None = None,
    stop: Stop | None = None,
    observe: Callable[[Progress], None] | None = None,
    announce: Callable[[Preview], None] | None = None,
    complain: Callable[[Retry], None] | None = None,
) -> RunResult:
    """Export what is new in every source, load it and publish the snapshot.

    ``observe`` hears of every page, ``announce`` of what a first export is about to do, ``complain`` of what failed
    more than once and is about to be asked again.
    Raises FolderInUseError, FolderError, RefusedError or DiskFullError where the data folder cannot be used at all, and
    UsageError where a source is asked for that is not there.
    """
    with tracing.span("run") as tell:
        night = _Night(
            config,
            asked or Asked(),
            stop or Stop(),
            observe=observe or _look_away,
            announce=announce or _look_away,
            complain=complain or _look_away,
        )
        result = night.run()
        tell("pipeline.run_id", result.run_id)
        tell("pipeline.exit_code", result.exit_code)
        return result


def _look_away(_: object) -> None:
    """Observe nothing."""


class _Night:
    """One run over all sources and destinations."""

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        config: Config,
        asked: Asked,
        stop: Stop,
        *,
        observe: Callable[[Progress], None],
        announce: Callable[[Preview], None],
        complain: Callable[[Retry], None],
    ) -> None:
        self._config = config
        self._asked = asked
        self._stop = stop
        self._observe = observe
        self._announce = announce
        self._complain = complain
        self._sources = config.only(asked.only)
        self._ends: dict[str, Ends] = {}
        self._folder = DataFolder(config.data)
        self._run_id = uuid.uuid4().hex
        self._started = datetime.now(UTC)
        self._deadline = None if asked.max_runtime is None else time.monotonic() + asked.max_runtime
        self._accounts: dict[str, Account] = {}
        self._told: dict[str, int] = {}
        """By source: the last segment of which a run has told what it held."""
        self._damaged: dict[str, FolderError] = {}
        self._bugs: list[Exception] = []
        self._destinations: list[DestinationResult] = []
        self._published = False
        self._findings: list[Finding] = []
        self._loading = self._publishing = _Took()

    def run(self) -> RunResult:
        """Do everything there is to do; a bug in one part is raised after the other parts are done."""
        if not self._folder.exists and (closed := self._knock()):
            return self._result(closed)
        with owned(self._folder, share=self._config.share == "group") as lock:
            try:
                sources = self._export_and_load(lock)
            except PipelineError as error:
                troubles.note_end(self._folder, error, self._started)
                raise
            if not any(done.error for done in self._destinations if done.destination == "duckdb"):
                with _timed("publish") as self._publishing:
                    self._publish()
            result = self._result(sources)
            troubles.note(self._folder, result)
        if self._bugs:
            raise self._bugs[0]
        return result

    def _knock(self) -> list[SourceResult]:
        """Ask every source for the ends of its list before a data folder is made; what refuses, if all do."""
        told = [self._knock_at(source) for source in self._sources]
        return [] if None in told else [result for result in told if result]

    def _knock_at(self, source: Source) -> SourceResult | None:
        try:
            with assemble.client(source, None, self._stop, self._complain) as client:
                self._ends[source.name] = look(client, source.limit)
        except PipelineError as error:
            return refused(source.name, error)
        except StoppedError:
            return _not_asked(source.name)
        return None

    def _export_and_load(self, lock: int) -> list[SourceResult]:
        archives = self._archives()
        if self._damaged and not archives:
            raise next(iter(self._damaged.values()))
        if not self._damaged:
            self._finish_forgetting(list(archives.values()))
            forget.remove_blobs_of_the_killed(self._config, self._folder, list(archives.values()))
        before = dict(self._told)
        self._accounts = {source: archive.account for source, archive in archives.items()}
        asked = [archives[source.name] for source in self._sources if source.name in archives]
        beside = Beside(self._config, asked, lock)
        try:
            with tracing.span("extract"):
                results = [
                    self._export_one(source, archives.get(source.name), beside, self._limit(place))
                    for place, source in enumerate(self._sources)
                ]
            loaded = beside.end(self._stop)
        finally:
            beside.kill()
        reach("run.extracted")
        with _timed("load") as self._loading:
            rejected = self._load(list(archives.values()), before, loaded)
        reach("run.loaded")
        named = {source.name for source in self._sources}
        results += [refused(name, self._damaged[name]) for name in sorted(self._damaged.keys() - named)]
        return [_judge(result, rejected.get(result.source, 0), self._damaged.get(result.source)) for result in results]

    def _finish_forgetting(self, archives: list[Archive]) -> None:
        """Take out what is pending; where a destination cannot be reached all else goes on, for it passes that over."""
        try:
            forget.finish(self._config, self._folder, archives, self._stop)
        except PipelineError as error:
            told = f"what is to be forgotten is not gone everywhere: {error.message}"
            self._destinations.append(DestinationResult("forget", error.exit_code, 0, 0, error=told, hint=error.hint))

    def _archives(self) -> dict[str, Archive]:
        """Open the archive of every source configured, and of those that were once; a damaged one is left out."""
        archives = {}
        configured = {source.name for source in self._config.sources}
        for name in sorted(configured.union(segments.sources(self._folder.archive))):
            try:
                memory = self._folder.footers(name)
                archive = Archive(self._folder.archive, name, scratch=self._folder.scratch, memory=memory)
                archive.enter()
                self._told[name] = next((segment for segment, _ in archive.runs()), 0)
                archives[name] = archive
                archive.insist_on_whole()  # a run goes on without one, and tells
            except FolderError as error:
                self._damaged[name] = error
        return archives

    # -- export ---------------------------------------------------------------------------------------------------

    def _limit(self, place: int) -> Limit:
        """Say what a source may take: of the time that is left, an equal share of all sources that are left."""
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        share = None if left is None else left / (len(self._sources) - place)
        return Limit(self._stop, pages=self._asked.max_pages, seconds=share)

    def _export_one(self, source: Source, archive: Archive | None, beside: Beside, limit: Limit) -> SourceResult:
        """Export a source, and tell the process that may load beside it how far its archive is."""
        if archive is None:
            return refused(source.name, self._damaged[source.name])

        def observe(progress: Progress) -> None:
            beside.tell(source.name, archive.entered, progress.bytes)
            self._observe(progress)

        try:
            with tracing.span("source", {"pipeline.source": source.name}) as tell:
                result = self._export(source, archive, beside, observe, limit)
                tell("pipeline.exit_code", result.exit_code)
                return result
        finally:
            beside.over(source.name, archive.entered)

    def _export(
        self, source: Source, archive: Archive, beside: Beside, observe: Callable[[Progress], None], limit: Limit
    ) -> SourceResult:
        order = self._order(source)
        try:
            self._stop.check()
            ends = self._ends.get(source.name)
            account = ends.account if ends else archive.account
            # A disk that fails under the export of one source is told as what failed it, and is no bug.
            opened = assemble.client(source, account, limit, self._complain)
            with files.explained(self._folder.archive), opened as client:
                is_from_both_ends = False
                if not archive.was_exported:
                    ends = ends or look(client, source.limit)
                    is_from_both_ends = self._prepare(source, ends, beside)
                return Export(
                    replace(order, from_both_ends=is_from_both_ends),
                    archive,
                    client,
                    blobs=assemble.blobs(self._folder),
                    limit=limit,
                    claim=lambda account: self._claim(source, account),
                    observe=observe,
                ).run(ends.pages if ends else ())
        except PipelineError as error:
            return refused(source.name, error)
        except StoppedError:
            return _not_asked(source.name)
        except Exception as error:  # noqa: BLE001 - raised again when the other sources are done
            self._bugs.append(error)
            return SourceResult(source.name, 1, False, None, why_not=f"a bug: {type(error).__name__}")

    def _order(self, source: Source) -> Order:
        sweep = SweepOrder(
            fingerprint=source.fingerprint,
            limit=source.limit,
            requests=min(source.sweep_requests, self._asked.max_pages or source.sweep_requests),
            walks=1 if _is_filtered(source) else source.sweep_walks,
            every=source.sweep_every,
            is_asked=self._asked.sweep,
            accepts_losses=self._asked.accepts_losses,
        )
        return Order(
            self._run_id,
            source.fingerprint,
            source.limit,
            int(source.overlap),
            source.segment_size,
            assemble.content(source),
            source.messages_at_once if source.messages and source.content == "full" else 0,
            sweep,
        )

    def _prepare(self, source: Source, ends: Ends, beside: Beside) -> bool:
        """Say what a first export is about to do, and refuse one that would fill the disk.

        Returns whether it is long and its server slow, so that walking from both ends is worth it: where the server has
        answered for its newest end.
        """
        preview = estimate(source.name, ends, self._folder.root)
        if preview:
            self._announce(preview)
            preview.insist_on_space(self._folder.root)
            beside.expect(preview.bytes)
        is_long = preview is not None and preview.requests >= LONG
        is_allowed = source.both_ends and not _is_filtered(source) and len(ends.pages) > 1
        return is_allowed and is_long and ends.seconds >= SLOW

    def _claim(self, source: Source, account: Account) -> None:
        """Refuse a second source on the same server, organization and project: its rows would count twice (walk 9)."""
        for other in self._config.sources:
            same_place = other.name != source.name and other.base_url == source.base_url
            if same_place and account.project is not None and self._accounts.get(other.name) == account:
                raise ConfigError(
                    f"source {source.name}: its key answers for the organization and project of source {other.name}: "
                    "their completions would count twice",
                    hint="remove one of the two sources, or give it the key of another project",
                )
        self._accounts[source.name] = account

    # -- load and publish -----------------------------------------------------------------------------------------

    def _load(self, archives: list[Archive], before: dict[str, int], loaded: Loaded) -> dict[str, int]:
        """Let every destination catch up with what was not loaded beside the walk.

        Returns how many completions of this run were rejected, by source.
        """
        with contextlib.ExitStack() as opened:
            lanes = self._lanes(opened, archives)
            catch_up = CatchUp(lanes, self._stop, self._config.logprobs, loaded.rejected)
            for lane in lanes:
                lane.segments, lane.completions = loaded.lanes.get(lane.destination.name, (0, 0))
            with contextlib.suppress(StoppedError):
                for archive in archives:
                    self._stop.check()
                    self._load_from(archive, catch_up)
                    if not loaded.is_told:
                        self._look_at(archive, catch_up, before[archive.source])
            self._destinations += [lane.result() for lane in catch_up.lanes]
        return {source: catch_up.rejected_since(source, segment) for source, segment in before.items()}

    def _load_from(self, archive: Archive, catch_up: CatchUp) -> None:
        with self._damage_noted(archive):
            catch_up.load(archive)

    def _look_at(self, archive: Archive, catch_up: CatchUp, number: int) -> None:
        """Learn what a helper rejected that died before it could tell."""
        with self._damage_noted(archive):
            catch_up.look_at(archive, number)

    @contextlib.contextmanager
    def _damage_noted(self, archive: Archive) -> Iterator[None]:
        try:
            yield
        except FolderError as error:
            self._damaged[archive.source] = error

    def _lanes(self, opened: contextlib.ExitStack, archives: list[Archive]) -> list[Lane]:
        """Open every destination, none before all are upgraded: making one anew looks into the others."""
        names, lanes = [], []
        for name in assemble.destination_names(self._config):
            with self._failure_told(name):
                self._upgrade(name, archives)
                names.append(name)
        for name in names:
            with self._failure_told(name):
                lanes.append(Lane(opened.enter_context(assemble.destination(name, self._config, self._folder))))
        return lanes

    @contextlib.contextmanager
    def _failure_told(self, name: str) -> Iterator[None]:
        """Let what stops a destination stop only itself."""
        try:
            yield
        except PipelineError as error:
            self._destinations.append(
                DestinationResult(name, error.exit_code, error=error.message, hint=error.hint or None)
            )

    def _upgrade(self, name: str, archives: list[Archive]) -> None:
        """Make a destination of another layout anew, beside the one that readers see until it is whole."""
        if not assemble.is_outdated(name, self._config, self._folder):
            return
        if self._damaged:
            raise next(iter(self._damaged.values()))
        (done,) = rebuild([name], archives, self._config, self._folder, self._stop)
        done.insist()

    def _publish(self) -> None:
        """Publish what the writer holds; a failure leaves the former snapshot and fails the destination."""
        if not self._config.duckdb:
            return
        loaded = [result for result in self._destinations if result.destination == "duckdb" and not result.error]
        has_news = any(result.segments for result in loaded)
        is_whole = not (self._damaged or self._stop.asked)
        try:
            done = assemble.publish(self._config, self._folder, anew=has_news, is_ready=bool(loaded), is_whole=is_whole)
        except PipelineError as error:
            self._destinations.append(
                DestinationResult("snapshot", error.exit_code, error=error.message, hint=error.hint or None)
            )
            return
        self._published = done.published
        self._findings += [
            Finding("foreign-wal", f"somebody opened the snapshot to write; what they wrote is in {leftover}")
            for leftover in done.leftovers
        ]

    def _result(self, sources: list[SourceResult]) -> RunResult:
        return RunResult(
            run_id=self._run_id,
            started=self._started,
            ended=datetime.now(UTC),
            sources=tuple(sources),
            destinations=tuple(self._destinations),
            published=self._published,
            findings=tuple(self._findings),
            stopped=self._stop.asked,
            load_seconds=self._loading.seconds,
            publish_seconds=self._publishing.seconds,
        )


@dataclass(slots=True)
class _Took:
    """How long a stage took."""

    seconds: float = 0.0


@contextlib.contextmanager
def _timed(stage: str) -> Iterator[_Took]:
    """Measure a stage."""
    took, began = _Took(), time.monotonic()
    try:
        with tracing.span(stage):
            yield took
    finally:
        took.seconds = round(time.monotonic() - began, 3)


def _is_filtered(source: Source) -> bool:
    """Tell whether only a part of the list is asked for: then no walk is split (walk 6)."""
    return bool(source.model or source.metadata)


def _not_asked(source: str) -> SourceResult:
    return SourceResult(source, 0, False, None, why_not="the run was asked to stop before this source")


def _judge(result: SourceResult, rejected: int, damaged: FolderError | None) -> SourceResult:
    """Add what came to light on the way to the destinations: rows that do not fit, a segment that cannot be read."""
    if damaged:
        code = worst((result.exit_code, damaged.exit_code))
        result = replace(result, complete=False, why_not=damaged.message, hint=damaged.hint, exit_code=code)
    if not rejected:
        return result
    finding = Finding(
        "rejected", f"{rejected} completions hold values that fit no column: see the table rejects; nothing is lost"
    )
    code = worst((result.exit_code, IncompleteError.exit_code))
    return replace(result, rejected=rejected, exit_code=code, findings=(*result.findings, finding))
