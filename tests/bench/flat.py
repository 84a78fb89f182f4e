"""Peak memory of a first export, few and many: flat means that many times as much needs hardly more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.ours import Program
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.report import Report


def full(report: Report) -> None:
    """Measure exports of full bodies."""
    _measure(report, is_small=False)


def small(report: Report) -> None:
    """Measure exports of bodies of 200 bytes."""
    _measure(report, is_small=True)


def _measure(report: Report, *, is_small: bool) -> None:
    first = None
    for count in report.size.counts:
        with tempfile.TemporaryDirectory() as folder, serving(count, small=is_small) as service:
            program = Program.of(Path(folder), service)
            peak = program.night().whole
            first = first or peak
            report.took(1, f"{count:,}: first export", peak, ratio=peak.peak / first.peak)
            program.prove(count)
        report.result(f"peak, {count:,} completions", [peak.peak], "MB", least="600", goal="400")
    report.result("more memory for the most than for the least", [peak.peak / first.peak], "x", least="1.1", goal="1.1")
