"""A first export to archive, Parquet and DuckDB, against the bare walk of the same pages, by a server without delay."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.floor import floor
from tests.bench.ours import Program
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.report import Report


def measure(report: Report) -> None:
    """Measure floor, ours, floor in each round; the ratios are to the mean of the two."""
    count = report.size.counts[-1]
    apart, whole, first = [], [], []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        program = Program.of(Path(folder), service)
        for number in range(1, report.size.rounds + 1):
            program.clear()
            before, cost = floor(service)
            report.took(number, "floor: bare httpx walk", cost, seconds=before)
            night = program.night()
            after, cost = floor(service)
            least = (before + after) / 2
            apart.append(night.seconds / least)
            whole.append(night.whole.seconds / least)
            first.append(((night.whole.since_first or 0) - night.publishing) / least)
            report.took(number, "ours, publishing included", night.whole, ratio=whole[-1])
            report.took(
                number,
                "ours, publishing apart",
                night.whole,
                seconds=night.seconds,
                written=night.written,
                ratio=apart[-1],
            )
            report.took(number, "floor: bare httpx walk", cost, seconds=after)
            report.note(f"{count / night.whole.seconds:,.0f} completions/s; publishing {night.publishing:.2f} s")
            program.prove(count)
    report.result("whole process, publishing apart", apart, "x floor", least="3.5", goal="2.0")
    report.result("whole process, publishing included", whole, "x floor")
    report.result("from the first request, publishing apart", first, "x floor")
