"""Peak memory: ``python -m tests.bench.memory [--quick]``; flat means that many times as much needs hardly more.

Exporting holds the answers in flight, 16 at most: ``--quick`` has too few images to reach that. Verifying grows until
some whole segments are there (about 200,000 small completions); from there on only with DuckDB's bounded cache.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.bench.child import completion, measured, served

MB = 1_000_000


class Measured(NamedTuple):
    """What one run needed."""

    what: str
    count: int
    peak: float
    """MB."""
    seconds: float


def export(folder: Path, count: int, megabytes: int) -> Measured:
    """Export completions whose messages hold an image each."""
    with served(count, megabytes * MB) as server:
        url = (server.stdout or sys.stdin).readline().strip()
        settings = folder / "pipeline.toml"
        settings.write_text(f'[sources.prod]\nbase_url = "{url}"\nmessages = true\n', encoding="utf-8")
        peak, seconds = measured("run", "--config", settings, "--data", folder / "data")
        server.communicate()
    held = [path.stat().st_size for path in (folder / "data" / "blobs").rglob("*") if path.is_file()]
    if sum(held) != count * megabytes * MB:
        sys.exit(f"{len(held)} images are held, not {count}")
    return Measured(f"export, images of {megabytes} MB", count, peak, seconds)


def verify(folder: Path, count: int) -> Measured:
    """Verify small completions in archive, Parquet, DuckDB and snapshot."""
    saved = folder / "saved.jsonl"
    with saved.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(completion(number, count))}\n" for number in range(count))
    settings = folder / "pipeline.toml"
    settings.write_text('[sources.prod]\nbase_url = "http://127.0.0.1:9/v1"\n', encoding="utf-8")
    where = ("--config", settings, "--data", folder / "data")
    measured("adopt", saved, "--source", "prod", *where)
    measured("rebuild", "all", *where)
    return Measured("verify, small", count, *measured("verify", *where))


def main(*, quick: bool) -> None:
    """Measure less and more of the same, and print how much more memory and time that needed."""
    tenth = 10 if quick else 1
    print(f"{'':24}{'completions':>12}{'peak MB':>10}{'seconds':>10}{'more':>8}{'memory':>9}{'time':>8}")
    for measure, counts, sizes in (
        (export, (50, 500), (1,)),
        (export, (20, 100), (8,)),
        (verify, (20_000, 100_000, 300_000), ()),
    ):
        before = None
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                now = measure(Path(folder), count // tenth, *sizes)
            print(_line(now, before), flush=True)
            before = now


def _line(now: Measured, before: Measured | None) -> str:
    told = f"{now.what:24}{now.count:>12,}{now.peak:>10,.0f}{now.seconds:>10,.1f}"
    if before is None:
        return told
    more, memory, time = now.count / before.count, now.peak / before.peak, now.seconds / before.seconds
    return f"{told}{more:>7.0f}x{memory:>8.2f}x{time:>7.1f}x"


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
