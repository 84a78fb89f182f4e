"""Tells those who watch a run how it went: a file of metrics, a ping. Nothing here ends, delays or changes a run.

Whatever goes wrong is one warning; the exit code stays that of the run. The run itself knows nothing of this.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline import files, metrics
from pipeline.errors import FolderError, PipelineError
from pipeline.folder import DataFolder
from pipeline.metrics import Told
from pipeline.ping import Ping
from pipeline.status import status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.config import Config
    from pipeline.result import RunResult
    from pipeline.status import SourceStatus
    from pipeline.stopping import Stop

    Warn = Callable[[str], None]

#: node_exporter is another user.
_FOR_ALL = 0o644
_BUG, _CTRL_C, _SIGTERM = 1, 130, 143
_SIGNALS = frozenset({_CTRL_C, _SIGTERM})


@dataclass(slots=True)
class Watch:
    """What is known of a run, as it becomes known; ``config`` and ``result`` are None where it did not come so far."""

    warn: Warn
    metrics_file: Path | None = None
    ping: Ping | None = None
    config: Config | None = None
    result: RunResult | None = None
    code: int = _BUG

    def begin(self, stop: Stop) -> None:
        """Say that the run starts; a signal that comes meanwhile is heard by ``stop``."""
        if self.ping:
            with _harmless(self.warn, "the ping of the run's start was not sent"):
                self.ping.start(stop)

    def _end(self) -> None:
        if self.metrics_file is not None:
            with _harmless(self.warn, f"no metrics were written to {self.metrics_file}"):
                self._write(self.metrics_file)
        if self.ping:
            with _harmless(self.warn, "the ping of the run's end was not sent"):
                self.ping.end(self.code, self.result, is_urgent=self.code in _SIGNALS)

    def _write(self, path: Path) -> None:
        """Replace the file; what is not known of a source any more is kept from the former one."""
        if not path.parent.is_dir():
            raise FolderError(f"there is no folder {path.parent}", hint="")
        text = metrics.exposition(_told(self, metrics.remembered(_former(path)), time.time()))
        files.write_whole(path, text.encode(), scratch=path.parent, mode=_FOR_ALL)


@contextlib.contextmanager
def watched(warn: Warn, metrics_file: Path | None, ping_url: str | None) -> Iterator[Watch]:
    """Tell how the run in this block ended: with the ``code`` that it sets, or with what it raises."""
    watch = Watch(warn, metrics_file, Ping(ping_url, warn) if ping_url else None)
    try:
        yield watch
    except KeyboardInterrupt:
        watch.code = _CTRL_C
        raise
    except BrokenPipeError:  # nobody reads the summary any more: the run is over all the same
        watch.code = watch.result.exit_code if watch.result else _BUG
        raise
    finally:
        watch._end()  # noqa: SLF001 - the other half of this function


@contextlib.contextmanager
def _harmless(warn: Warn, what: str) -> Iterator[None]:
    """Turn whatever goes wrong into a warning."""
    try:
        yield
    except PipelineError as error:
        warn(f"{what}: {error.message}")
    except Exception as error:  # noqa: BLE001 - no fault of those who watch is a fault of the run
        warn(f"{what}: {getattr(error, 'strerror', None) or type(error).__name__}")


def _told(watch: Watch, before: Mapping[str, float], now: float) -> list[Told]:
    """Say what is known of every source of the settings; where these cannot be read, of those in the former file."""
    stands = _standing(watch.config, now)
    unpriced = _unpriced(watch)
    names = [one.name for one in watch.config.sources] if watch.config else list(before)
    return [
        Told(
            source=name,
            ended=now,
            code=watch.code,
            run=watch.result,
            status=stands.get(name),
            unpriced=unpriced.get(name),
            remembered=before.get(name) or _last_complete(stands.get(name)),
        )
        for name in names or [""]
    ]


def _standing(config: Config | None, now: float) -> dict[str, SourceStatus]:
    """Read how the sources stand; a folder that cannot be read tells nothing, and that the run failed for it."""
    if config is None:
        return {}
    try:
        return {one.source: one for one in status(config, now=datetime.fromtimestamp(now, UTC))}
    except (PipelineError, OSError):
        return {}


def _last_complete(stands: SourceStatus | None) -> float | None:
    """Say when a run last read a source to its end: what is known where there is no former file."""
    return stands.last_complete.timestamp() if stands and stands.last_complete else None


def _unpriced(watch: Watch) -> dict[str, float]:
    """Ask the snapshot which share of the requests has no price, unless the run was to end quickly."""
    if not watch.config or not watch.config.duckdb or not watch.result or watch.result.stopped:
        return {}
    if not DataFolder(watch.config.data).snapshot.exists():
        return {}  # nothing was published yet, as where the first run has no key: the run has said why
    from pipeline import costs  # noqa: PLC0415 - only where metrics are asked for

    try:
        answer = costs.ask_costs(watch.config, by=("source",), since=None, until=None)
    except PipelineError as error:
        watch.warn(f"the share of what has no price is not in the metrics: {error.message}")
        return {}
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return {row["source"]: row["unpriced_requests"] / row["requests"] for row in rows if row["requests"]}


def _former(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
