"""What it takes to start: ``pipeline --help``, and ``pipeline status`` beside what is held, by the console script."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measure import measured

if TYPE_CHECKING:
    from tests.bench.ours import Program
    from tests.bench.report import Report

SCRIPT = Path(sys.executable).with_name("pipeline")


def measure(report: Report) -> None:
    """Measure --help, beside the bare interpreter."""
    _best(report, "python -c pass", [sys.executable, "-c", "pass"])
    took = _best(report, "pipeline --help", [SCRIPT, "--help"])
    report.result("pipeline --help", [took], "s", least="0.2", goal="0.15")


def status(report: Report, program: Program, count: int) -> None:
    """Measure status beside what a program holds."""
    took = _best(report, f"{count:,}: status", [SCRIPT, "status", *program.where()])
    report.result(f"status with {count:,} held", [took], "s", least="1", goal="0.5")


def _best(report: Report, what: str, command: list[object]) -> float:
    """Return the least of the rounds: whatever else a machine does only adds."""
    costs = [measured(command) for _ in range(max(3, report.size.rounds))]
    for number, cost in enumerate(costs, 1):
        report.took(number, what, cost)
    return min(cost.seconds for cost in costs)
