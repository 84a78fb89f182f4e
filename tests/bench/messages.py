"""Input messages, one call each, by a server that takes 50 ms for each answer: 32 in flight against one at a time.

One at a time is measured on fewer and scaled by the call; its start and its walk of the list are taken off, so that
they count against 32 in flight alone.
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

#: Many small calls less than all of them: 400 take twenty seconds one after the other.
FEW = 400


def measure(report: Report) -> None:
    """Measure the seconds of a call, one at a time and 32 in flight."""
    count = report.size.counts[-1]
    few = min(FEW, count)
    faster = []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        program = Program.of(Path(folder), service)
        for number in range(1, report.size.rounds + 1):
            service.set(delay=DELAY, visible=few)
            without = _night(program, 0)
            one = _night(program, few, messages=True, messages_at_once=1)
            call = (one.whole.seconds - without.whole.seconds) / few
            service.set(visible=count)
            many = _night(program, count, messages=True, messages_at_once=32)
            faster.append(call * count / many.whole.seconds)
            report.took(number, f"no messages of {few:,}", without.whole)
            report.took(number, f"messages of {few:,}, one at a time", one.whole)
            report.took(number, f"messages of {count:,}, 32 in flight", many.whole, ratio=faster[-1])
        program.prove(count)
    report.result("messages, 32 in flight", faster, "x faster by the call", least="24", goal="30")


def _night(program: Program, expected: int, **settings: object) -> Night:
    """Export anew; ends the benchmark where messages are missing."""
    program.clear()
    done = program.night(**settings)
    if done.source["messages"] != expected or done.source["messages_waiting"]:
        sys.exit(f"messages of {expected:,} completions were asked for: {done.source}")
    return done
