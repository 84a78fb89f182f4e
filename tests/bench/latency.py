"""Exports by a server that takes 50 ms for each answer: one walk against the bare one, both ends against one walk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.floor import floor
from tests.bench.ours import Program, knows
from tests.bench.service import serving

if TYPE_CHECKING:
    from tests.bench.report import Report

DELAY = 0.05
#: A program that does not know the setting walks once, always.
ONE_WALK = {"both_ends": False} if knows("both_ends") else {}


def one_walk(report: Report) -> None:
    """Measure how much longer than the bare walk an export by one walk takes."""
    count = report.size.counts[-1]
    whole, apart = [], []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        service.set(delay=DELAY)
        program = Program.of(Path(folder), service)
        for number in range(1, report.size.rounds + 1):
            program.clear()
            least, cost = floor(service)
            report.took(number, "floor: bare httpx walk", cost, seconds=least)
            night = program.night(**ONE_WALK)
            whole.append(night.whole.seconds / least)
            apart.append(night.seconds / least)
            report.took(number, "ours, one walk, publishing included", night.whole, ratio=whole[-1])
            program.prove(count)
    report.result("one walk, whole process", whole, "x floor", least="1.05", goal="1.02")
    report.result("one walk, publishing apart", apart, "x floor")


def both_ends(report: Report) -> None:
    """Measure how much faster a first export walks from both ends, as shipped."""
    if not ONE_WALK:
        report.note("not measured: the program walks from one end only")
        return
    count = report.size.counts[-1]
    faster = []
    with tempfile.TemporaryDirectory() as folder, serving(count) as service:
        service.set(delay=DELAY)
        program = Program.of(Path(folder), service)
        for number in range(1, report.size.rounds + 1):
            program.clear()
            one = program.night(**ONE_WALK).whole
            report.took(number, "one walk", one)
            program.prove(count)
            program.clear()
            both = program.night().whole
            faster.append(one.seconds / both.seconds)
            report.took(number, "both ends", both, ratio=faster[-1])
            program.prove(count)
    report.result("both ends", faster, "x faster", least="1.9", goal="1.95")
