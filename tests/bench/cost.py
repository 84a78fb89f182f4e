"""What pricing costs: reports over small completions, as ratios to a floor.

The floor of a question is the same sum of tokens over the table, without prices. The snapshot is made in place: what is
measured is the program's own commands on it, and what opening the writer's file costs a night.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipeline.cost.settings import Cost
from pipeline.load.duckdb import DuckDBDestination, shown
from tests.bench.measure import measured
from tests.bench.ours import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.report import Report

#: Six models, two tiers, a tag of twenty values; a month holds a twelfth of it all.
_ROWS = """
    INSERT INTO completions BY NAME
    SELECT 'prod' AS source, 'chatcmpl-' || n AS id, moment AS created, epoch(moment)::BIGINT AS created_unix,
        moment::DATE AS created_date, ['gpt-4o-mini-2024-07-18', 'gpt-4.1-2025-04-14', 'gpt-5-2025-08-07',
            'o3-2025-04-16', 'nobody-knows', 'gpt-5.5'][1 + n * 7 % 6] AS model,
        CASE WHEN n % 10 = 0 THEN 'flex' ELSE 'default' END AS service_tier,
        (hash(n) % 3000)::BIGINT AS prompt_tokens, (hash(n + 1) % 900)::BIGINT AS completion_tokens,
        (prompt_tokens + completion_tokens) AS total_tokens,
        CASE WHEN n % 2 = 0 THEN NULL ELSE 0 END AS prompt_cached_tokens,
        MAP {{'team': 't' || n % 20}} AS metadata, 1 AS segment, moment AS first_seen, moment AS fetched_at,
        '' AS content_hash, 'api' AS origin
    FROM (
        SELECT range AS n, TIMESTAMPTZ '2025-11-01 00:00:00Z' + to_microseconds(range * (31536000000000 // {count}))
            AS moment
        FROM range({count})
    )
"""
_RUN = """
    INSERT INTO runs BY NAME SELECT 'prod' AS source, '1' AS run_id, 1 AS segment, now() AS started_at,
        now() AS ended_at, TIMESTAMPTZ '2026-11-01 00:00:00Z' AS data_through, true AS complete,
        DATE '2026-11-01' AS created_date, 0 AS "new",
        0 AS changed, 0 AS skipped, 0 AS forgotten, 0 AS gone, 0 AS missed, 0 AS pages, 0 AS retries, 0 AS bytes,
        '[]' AS findings, '' AS "version"
"""
_FLOOR = "SELECT model, sum(prompt_tokens), sum(completion_tokens) FROM completions GROUP BY model"
_YEAR = ("--since", "2025-11-01", "--until", "2026-11-01")
_MONTH = ("--since", "2026-10-01", "--until", "2026-11-01")
COMMANDS = {
    "cost, a year": ("cost", *_YEAR),
    "cost --by model, a year": ("cost", "--by", "model", *_YEAR),
    "cost --by day, a year": ("cost", "--by", "day", *_YEAR),
    "cost --by metadata:team, a year": ("cost", "--by", "metadata:team", *_YEAR),
    "cost --by model, a month": ("cost", "--by", "model", *_MONTH),
    "cost --by day --tz, a month": ("cost", "--by", "day", "--tz", "Europe/Berlin", *_MONTH),
    "report, a month": ("report", "--tag", "team", *_MONTH),
}


def make(data: Path, count: int) -> None:
    """Make a snapshot of ``count`` completions."""
    data.mkdir()
    (data / ".writer").mkdir()
    DuckDBDestination(data / "warehouse.duckdb", cost=Cost()).close()
    with closing(duckdb.connect(data / "warehouse.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_ROWS.format(count=count))
        connection.execute(_RUN)


def seconds(work: Callable[[], object]) -> float:
    """Return the least of three times."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def measure(report: Report) -> None:
    """Measure each command on every size."""
    for count in report.size.counts:
        with tempfile.TemporaryDirectory() as folder:
            _measure(report, Path(folder), count)


def _measure(report: Report, folder: Path, count: int) -> None:
    data, snapshot = folder / "data", folder / "data" / "warehouse.duckdb"
    make(data, count)
    with closing(duckdb.connect(snapshot, read_only=True)) as connection:
        floor = seconds(lambda: connection.execute(_FLOOR).fetchall())
    report.note(f"{count:,} completions; floor (tokens by model, no prices): {floor:.3f} s")
    for name, arguments in COMMANDS.items():
        out = ("--out", folder / "report.html") if arguments[0] == "report" else ()
        command = [sys.executable, "-m", "pipeline", *arguments, "--data", data, *out]
        costs = [measured(command, env=KEY) for _ in range(report.size.rounds)]
        best = min(costs, key=lambda one: one.seconds)
        report.took(1, name, best, ratio=best.seconds / floor)
        report.note(f"{count / best.seconds:,.0f} rows/s")
    opening = seconds(lambda: DuckDBDestination(snapshot, cost=Cost()).close())
    looking = seconds(lambda: shown(snapshot))
    report.result("a night: opening the writer's file with its views", [opening], "s")
    report.result("a night: comparing what is shown", [looking], "s")
