"""A sweep of all that is listed, by a server that takes 50 ms for each answer: 16 walks against one.

The server's cursor skips the rest of a second: a walk that lost a row would miss it, or show it as new or gone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.latency import DELAY
from tests.bench.ours import Program
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.ours import Night
    from tests.bench.report import Report

_NOTHING = ("new", "changed", "missed", "gone")


def measure(report: Report) -> None:
    """Measure sweeps over what one export brought."""
    count = report.size.counts[-1]
    faster = []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        program = Program.of(Path(folder), service)
        program.night()
        service.set(delay=DELAY)
        for number in range(1, report.size.rounds + 1):
            one, many = (_swept(program, walks) for walks in (1, 16))
            faster.append(one.whole.seconds / many.whole.seconds)
            report.took(number, f"1 walk, {one.source['pages']:,} pages", one.whole)
            report.took(number, f"16 walks, {many.source['pages']:,} pages", many.whole, ratio=faster[-1])
        program.prove(count)
    report.result("sweep, 16 walks", faster, "x faster", least="8", goal="12")


def _swept(program: Program, walks: int) -> Night:
    """Sweep; ends the benchmark where that found anything, since nothing changed."""
    done = program.night("sweep", sweep_walks=walks)
    if found := {name: done.source[name] for name in _NOTHING if done.source[name]}:
        sys.exit(f"nothing changed at the server, but a sweep with {walks} walks found {found}")
    return done
