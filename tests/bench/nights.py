"""Nights of 1,000 new small completions into few and into many that are held; then what status takes beside them.

The first night reads again the overlap of the dense month before it, so it is told apart; each later one reads again
the same few, however many are held.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench import start
from tests.bench.corpus import NIGHT
from tests.bench.ours import Program
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.ours import Night
    from tests.bench.report import Report

#: How each night is told.
_MEASURES = {
    "wall, publishing apart": lambda night: night.seconds,
    "wall, publishing included": lambda night: night.whole.seconds,
    "written, publishing apart": lambda night: night.written,
    "written, publishing included": lambda night: night.whole.written,
    "memory": lambda night: night.whole.peak,
}


def measure(report: Report) -> None:
    """Measure the nights of each size; ``rounds`` is how many, the first one not counted."""
    told = {count: _nights(report, count) for count in report.size.counts}
    fewest = report.size.counts[0]
    for name, of in _MEASURES.items():
        for count, nights in told.items():
            ratio = median(map(of, nights)) / max(median(map(of, told[fewest])), 1e-9)
            least = "" if "included" in name else "1.2"
            report.result(f"{name}, {count:,} held", [ratio], f"x that of {fewest:,}", least=least, goal="1.2")


def _nights(report: Report, count: int) -> list[Night]:
    """Export ``count`` and then a thousand each night; return the nights after the first."""
    rounds = report.size.rounds
    nights = []
    with tempfile.TemporaryDirectory() as folder, serving(count, small=True, nights=rounds + 1) as service:
        program = Program.of(Path(folder), service)
        service.set(visible=count)
        report.took(0, f"{count:,}: first export", program.night().whole)
        for number in range(rounds + 1):
            service.set(visible=count + (number + 1) * NIGHT)
            night = program.night()
            if night.source["new"] != NIGHT:
                sys.exit(f"{NIGHT:,} completions are new, but a night brought {night.source}")
            name = f"{count:,}: {'first ' if not number else ''}night, {night.source['pages']} pages"
            report.took(number, f"{name}, apart", night.whole, seconds=night.seconds, written=night.written)
            report.took(number, "    publishing included", night.whole)
            nights.append(night)
        start.status(report, program, count)
        program.prove(count + (rounds + 1) * NIGHT)
    return nights[1:]
