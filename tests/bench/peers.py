"""The same export by peers, in an environment of their own (.venv-bench), beside the floor and ours.

A peer is a script that walks the server and writes Parquet and DuckDB into a folder; what it holds at last is its own
affair: the official SDKs' paging and dlt's lose rows on this cursor, and that is told, not mended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.floor import floor
from tests.bench.measure import Measured, measured
from tests.bench.ours import Program
from tests.bench.service import ROOT, Service, serving

if TYPE_CHECKING:
    from tests.bench.report import Report

PYTHON = ROOT / ".venv-bench" / "bin" / "python"


def measure(report: Report) -> None:
    """Measure floor, ours and each peer in each round; a peer's ratio is how many times our time it takes."""
    if not PYTHON.exists():
        sys.exit("the peers' environment is missing: make .venv-bench/made")
    count = report.size.counts[-1]
    sdk, dlt = [], []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        program = Program.of(Path(folder), service)
        for number in range(1, report.size.rounds + 1):
            program.clear()
            least, cost = floor(service)
            report.took(number, "floor: bare httpx walk", cost, seconds=least)
            ours = program.night().whole
            report.took(number, "ours, publishing included", ours)
            hand_written = _peer(service, "sdk")
            sdk.append(hand_written.seconds / ours.seconds)
            report.took(number, "SDK + pandas, to both", hand_written, ratio=sdk[-1])
            duckdb, parquet = _peer(service, "dlt", "duckdb"), _peer(service, "dlt", "filesystem")
            dlt.append((duckdb.seconds + parquet.seconds) / ours.seconds)
            report.took(number, "dlt, to DuckDB", duckdb, ratio=duckdb.seconds / ours.seconds)
            report.took(number, "dlt, to Parquet", parquet, ratio=parquet.seconds / ours.seconds)
            report.note(
                f"of {count:,} the SDK got {hand_written.stdout.strip()}, dlt {duckdb.stdout.strip()}; "
                f"x floor: ours {ours.seconds / least:.1f}, SDK {hand_written.seconds / least:.1f}, "
                f"dlt to both {(duckdb.seconds + parquet.seconds) / least:.1f}"
            )
            program.prove(count)
    report.result("than SDK + pandas", sdk, "x faster", least="5", goal="12")
    report.result("than dlt to both, one after the other", dlt, "x faster", least="9", goal="20")


def _peer(service: Service, name: str, *arguments: str) -> Measured:
    """Run a peer in an empty folder of its own, also for what it keeps in the user's home."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PYTHON, "-m", f"tests.bench.peer_{name}", f"{service.url}/v1", folder, *arguments]
        return measured(command, service, {"HOME": folder, "RUNTIME__DLTHUB_TELEMETRY": "false"})
