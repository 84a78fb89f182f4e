"""Parquet and DuckDB made anew from the archive alone: completions per second."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.ours import Program
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.report import Report


def measure(report: Report) -> None:
    """Measure rebuilding all, over what one export brought."""
    count = report.size.counts[-1]
    speeds = []
    with tempfile.TemporaryDirectory() as folder:
        with serving(count) as service:
            program = Program.of(Path(folder), service)
            program.night()
        offline = Program(Path(folder), f"{service.url}/v1")
        for number in range(1, report.size.rounds + 1):
            cost = offline.measure("rebuild", "all")
            speeds.append(count / cost.seconds)
            report.took(number, "rebuild all", cost)
        offline.prove(count)
    report.result("rebuild all", speeds, "completions/s", least="30,000", goal="60,000")
