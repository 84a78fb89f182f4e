"""``python -m tests.bench [NAME …] [--full] [--count N] [--rounds N] [--json FILE]`` measures and prints ratios.

Without names, all. Sizes are for minutes; ``--full`` are those of the table of targets.
"""

from __future__ import annotations

import argparse
import compileall
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pipeline
from tests.bench.report import Report, Size, machine, save


class Benchmark(NamedTuple):
    """One benchmark and its two sizes."""

    where: str
    """Module and function."""
    usual: Size
    full: Size

    def measure(self, report: Report) -> None:
        """Import it only now: what the measuring process holds, the system counts as a short process's memory."""
        module, function = self.where.split(".")
        getattr(import_module(f"tests.bench.{module}"), function)(report)


BENCHMARKS = {
    "start": Benchmark("start.measure", Size((), 3), Size((), 5)),
    "export": Benchmark("export.measure", Size((50_000,)), Size((500_000,))),
    "peers": Benchmark("peers.measure", Size((20_000,)), Size((20_000,))),
    "latency": Benchmark("latency.one_walk", Size((20_000,), 1), Size((100_000,))),
    "ends": Benchmark("latency.both_ends", Size((20_000,), 1), Size((100_000,))),
    "sweep": Benchmark("sweep.measure", Size((100_000,), 1), Size((100_000,))),
    "messages": Benchmark("messages.measure", Size((5_000,), 1), Size((20_000,))),
    "rebuild": Benchmark("rebuild.measure", Size((50_000,)), Size((500_000,))),
    "nights": Benchmark("nights.measure", Size((10_000, 100_000)), Size((100_000, 1_000_000, 10_000_000), 5)),
    "memory": Benchmark("flat.full", Size((20_000, 100_000), 1), Size((100_000, 1_000_000), 1)),
    "memory-small": Benchmark("flat.small", Size((100_000, 500_000), 1), Size((100_000, 1_000_000, 5_000_000), 1)),
    "images": Benchmark("memory.images", Size((40, 160), 1), Size((50, 500), 1)),
    "verify": Benchmark("memory.verify", Size((20_000, 100_000), 1), Size((20_000, 100_000, 300_000), 1)),
    "spark": Benchmark("spark.measure", Size((50_000,), 1), Size((1_000_000,), 1)),
    "cost": Benchmark("cost.measure", Size((100_000,)), Size((1_000_000, 10_000_000))),
}


def main() -> None:
    """Measure what is asked for; the file is written anew after each benchmark, so that a stop loses one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--full", action="store_true", help="the sizes of the table of targets")
    parser.add_argument("--count", type=int, nargs="+", help="completions, instead of the sizes, least first")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    asked = parser.parse_args()
    compileall.compile_dir(Path(pipeline.__path__[0]), quiet=1)  # as pip leaves it, and the peers
    if unknown := set(asked.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    where, reports = machine(), []
    print(json.dumps(where))
    for name in asked.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        size = benchmark.full if asked.full else benchmark.usual
        if asked.count and size.counts:
            size = replace(size, counts=tuple(asked.count))
        reports.append(Report(name, replace(size, rounds=asked.rounds or size.rounds)))
        benchmark.measure(reports[-1])
        save(asked.json, where, reports)


if __name__ == "__main__":
    main()
