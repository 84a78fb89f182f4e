"""The demo: everything the program does, on the sandbox, with nothing to configure."""

from __future__ import annotations

import importlib.util
import os
import shutil
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pipeline import console
from pipeline.assemble import query_snapshot
from pipeline.config import Config, Source
from pipeline.cost.period import Period
from pipeline.costs import ask_costs
from pipeline.errors import FolderError, UsageError, worst
from pipeline.files import make_folder
from pipeline.folder import DataFolder
from pipeline.nightly import export
from pipeline.report import Wanted, report

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.result import RunResult

#: The sandbox's own time: a fixed one makes every demo print the same numbers, and the README can show them.
NOW = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
DAY = 86_400
#: The month that the demo tells the cost of.
_MONTH = Period(date(2026, 10, 1), date(2026, 11, 1))
#: Marks a data folder that a demo made, so that the next one may make it anew and nothing else is ever deleted.
MARK = "made-by-a-demo"
_KEY = "PIPELINE_DEMO_KEY"
_USAGE = """
    SELECT strftime(day, '%Y-%m-%d') AS day, model, requests, prompt_tokens, completion_tokens, total_tokens
    FROM usage_daily ORDER BY day DESC, total_tokens DESC LIMIT 12
"""


def require_sandbox() -> None:
    """Raise UsageError where the sandbox's libraries are not installed."""
    if not (importlib.util.find_spec("starlette") and importlib.util.find_spec("uvicorn")):
        raise UsageError(
            "the sandbox is not installed",
            hint="install the extra pipeline[sandbox]: in the checkout, pip install '.[sandbox]'",
        )


def show(data: Path, *, completions: int) -> int:
    """Export a month of completions, then a further day of them; return the worst exit code."""
    from pipeline.sandbox import generate  # noqa: PLC0415 - an extra
    from pipeline.sandbox.clock import Clock  # noqa: PLC0415
    from pipeline.sandbox.server import Server  # noqa: PLC0415
    from pipeline.sandbox.store import Store  # noqa: PLC0415

    _make_anew(data)
    clock = Clock(NOW.timestamp())
    store = Store(clock)
    generate.month(store, completions=completions)
    with Server(store, key="demo") as server:
        os.environ[_KEY] = "demo"
        source = Source("demo", base_url=server.base_url, api_key=f"env:{_KEY}", both_ends=False)
        config = Config(data=data, sources=(source,))
        console.heading(f"A month: {len(store.visible_ids()):,} completions are listed by the sandbox")
        first = _run(config)
        _tell_files(data)
        _tell_usage(data)
        clock.advance(DAY)
        generate.later(store)
        console.heading(f"A day later: {len(store.visible_ids()):,} are listed; only the new ones come")
        second = _run(config)
        listed = store.visible_ids()
    code = worst((first.exit_code, second.exit_code, _compare(data, listed)))
    _tell_cost(config)
    return code


def _make_anew(data: Path) -> None:
    """Remove what an earlier demo left; refuse any other folder that is not empty."""
    mark = DataFolder(data).private / MARK
    if mark.exists():
        shutil.rmtree(data)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise FolderError(f"{data} is not empty, and no demo made it", hint="name a new folder with --data")
    make_folder(mark.parent)
    mark.touch()


def _run(config: Config) -> RunResult:
    result = export(config)
    console.say(console.summary(result, DataFolder(config.data).snapshot))
    return result


def _tell_files(data: Path) -> None:
    """Say what was written."""
    folder = DataFolder(data)
    console.heading("What was written")
    for part in (folder.archive, folder.parquet, folder.snapshot):
        files = [part] if part.is_file() else [file for file in part.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        console.say(f"{part!s:<32} {len(files):>4} files {size / 1e6:>8.1f} MB")


def _tell_usage(data: Path) -> None:
    console.heading("A first look: the latest tokens by day and model (view usage_daily)")
    with query_snapshot(data, _USAGE) as answer:
        console.table(answer.columns, list(answer.rows), "table")


def _tell_cost(config: Config) -> None:
    """Say what the month cost, by model, and write it as a report."""
    console.heading("What October cost, by model (pipeline cost --by model)")
    console.costs(ask_costs(config, by=("model",), since=_MONTH.since, until=_MONTH.until), "table")
    console.heading("The same as one HTML file (pipeline report)")
    console.say(report(config, Wanted(_MONTH.since, _MONTH.until, tags=("team",)), config.data / "report.html"))
    console.say(f"next: pipeline query --data {config.data} 'SELECT * FROM cost_daily'")


def _compare(data: Path, listed: set[str]) -> int:
    """Compare what the snapshot holds with what the server lists, id by id."""
    with query_snapshot(data, "SELECT id FROM completions") as answer:
        held = [str(row[0]) for row in answer.rows]
    missing, surplus, twice = len(listed - set(held)), len(set(held) - listed), len(held) - len(set(held))
    console.heading("The proof")
    told = f"{missing} missing, {surplus} not listed, {twice} held twice"
    console.say(f"{len(listed):,} listed, {len(held):,} held: {told}")
    return 1 if missing or surplus or twice else 0
