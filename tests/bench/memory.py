"""Peak memory besides a first export's: images, which are taken out of the bodies, and verifying.

Exporting holds the answers in flight, 16 at most. Verifying grows until some whole segments are there (about 200,000
small completions); from there on only with DuckDB's bounded cache.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.ours import Program
from tests.bench.service import started
from tests.bench.small import completion

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.measure import Measured
    from tests.bench.report import Report

MB = 1_000_000


def images(report: Report) -> None:
    """Measure exports of images of 1 MB, then of fewer of 8 MB."""
    for megabytes in (1, 8):
        counts = [count // megabytes for count in report.size.counts]
        _compare(report, counts, f"images of {megabytes} MB", lambda folder, n, mb=megabytes: _export(folder, n, mb))


def verify(report: Report) -> None:
    """Measure verifying small completions in archive, Parquet, DuckDB and snapshot."""
    _compare(report, report.size.counts, "verify, small", _verify)


def _compare(
    report: Report, counts: tuple[int, ...] | list[int], what: str, measure: Callable[[Path, int], Measured]
) -> None:
    first = None
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            cost = measure(Path(folder), count)
        first = first or cost
        report.took(1, f"{count:,}: {what}", cost, ratio=cost.peak / first.peak)
    report.result(f"{what}: more memory for {counts[-1] / counts[0]:.0f} x as many", [cost.peak / first.peak], "x")


def _export(folder: Path, count: int, megabytes: int) -> Measured:
    """Export completions whose messages hold an image each."""
    with started("images", count, megabytes * MB) as url:
        program = Program(folder, url)
        cost = program.night(messages=True).whole
        program.prove(count)
    held = [path.stat().st_size for path in (folder / "data" / "blobs").rglob("*") if path.is_file()]
    if sum(held) != count * megabytes * MB:
        sys.exit(f"{len(held)} images are held, not {count}")
    return cost


def _verify(folder: Path, count: int) -> Measured:
    saved = folder / "saved.jsonl"
    with saved.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(completion(number, count))}\n" for number in range(count))
    program = Program(folder, "http://127.0.0.1:9/v1")
    program.measure("adopt", saved, "--source", "prod")
    program.measure("rebuild", "all")
    return program.measure("verify")
