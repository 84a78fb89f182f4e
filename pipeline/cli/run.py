"""``pipeline run``: the nightly export."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from pipeline.cli.options import bounds, load_config, reporting, settings, watching

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from pipeline.stopping import Stop
    from pipeline.watch import Watch


@click.command()
@settings
@reporting
@watching
@bounds
@click.option("--sweep", is_flag=True, help="Walk everything still listed too, however long ago that was done.")
def run(sweep: bool, **options: Unpack[Options]) -> int:
    """Export what is new in every source, load it, and publish the snapshot.

    \b
    OPENAI_API_KEY=… pipeline run --data FOLDER
    pipeline run --config pipeline.toml --json
    pipeline run --config pipeline.toml --only prod --max-runtime 30m
    """
    return run_now(sweep=sweep, accepts_losses=False, **options)


class Options(TypedDict):
    """The options of a run."""

    config_file: Path | None
    data: Path | None
    as_json: bool
    log_format: str
    progress: str
    metrics_file: Path | None
    ping_url: str | None
    only: tuple[str, ...]
    max_pages: int | None
    max_runtime: float | None


def run_now(*, sweep: bool, accepts_losses: bool, **options: Unpack[Options]) -> int:
    """Run, report as asked, tell those who watch, and return the exit code."""
    from pipeline import console, tracing  # noqa: PLC0415 - --help stays light
    from pipeline.watch import watched  # noqa: PLC0415

    log = console.Log(options["log_format"])
    told = (options["metrics_file"], options["ping_url"])

    def warn(message: str) -> None:
        log.say("warning", "watch", message)

    with tracing.exported(os.environ, warn), watched(warn, *told) as watch:
        watch.code = _run(watch, sweep=sweep, accepts_losses=accepts_losses, **options)
        sys.stdout.flush()  # a signal during the last ping must not cost the result
    return watch.code


def _run(watch: Watch, *, sweep: bool, accepts_losses: bool, **options: Unpack[Options]) -> int:
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.errors import PipelineError  # noqa: PLC0415
    from pipeline.folder import DataFolder  # noqa: PLC0415
    from pipeline.nightly import Asked, export  # noqa: PLC0415
    from pipeline.stopping import Stop  # noqa: PLC0415

    log_format, progress, as_json = options["log_format"], options["progress"], options["as_json"]
    log = console.Log(log_format)
    is_live = progress == "always" or (progress == "auto" and log_format == "text" and sys.stderr.isatty())
    reporter = console.Reporter(log, is_live=is_live)
    stop = Stop()
    signals = _Signals(stop)
    asked = Asked(sweep, accepts_losses, options["only"], options["max_pages"], options["max_runtime"])
    try:
        watch.config = config = load_config(options["config_file"], options["data"])
        with signals.heard():
            watch.begin(stop)
            watch.result = result = export(
                config, asked=asked, stop=stop, observe=reporter, announce=log.preview, complain=reporter.complain
            )
    except PipelineError as error:
        log.explain(error)
        return signals.code or error.exit_code
    finally:
        reporter.end()
    if as_json or log_format == "json":
        log.result(result)
    if as_json:
        console.emit_json(result.as_dict())
    else:
        console.say(console.summary(result, DataFolder(config.data).snapshot, signals.code))
    return signals.code or result.exit_code


class _Signals:
    """Lets Ctrl-C and SIGTERM ask for a stop; a second one does not wait for it."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.code = 0

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Listen while the run lasts."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.code:
            raise KeyboardInterrupt
        self.code = 128 + number
        self._stop.ask()
