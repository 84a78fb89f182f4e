"""What the benchmarks print, round by round, and write as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from subprocess import run
from typing import TYPE_CHECKING, Any

from tests.bench.service import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.measure import Measured

_LIBRARIES = ("duckdb", "httpx", "msgspec", "pyarrow")
_HEAD = ("round", "what", "seconds", "ratio", "CPU s", "peak MB", "MB written", "server", "load")


@dataclass(frozen=True, slots=True)
class Size:
    """How much one benchmark measures."""

    counts: tuple[int, ...]
    """Completions, least first."""
    rounds: int = 3


@dataclass(slots=True)
class Report:
    """One benchmark's rounds and results, printed as they come."""

    name: str
    size: Size
    rounds: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        counts = ", ".join(f"{count:,}" for count in self.size.counts) + " completions, " if self.size.counts else ""
        print(f"\n=== {self.name}: {counts}rounds: {self.size.rounds}")
        print(_line(*_HEAD), flush=True)

    def took(  # noqa: PLR0913 - each has a name
        self,
        number: int,
        what: str,
        cost: Measured,
        *,
        seconds: float | None = None,
        written: float | None = None,
        ratio: float | None = None,
    ) -> None:
        """Tell what one process of one round cost; ``seconds`` and ``written`` where only a part is meant."""
        took = cost.seconds if seconds is None else seconds
        share = None if cost.server is None else cost.server / took
        told = {
            "round": number,
            "what": what,
            "seconds": took,
            "ratio": ratio,
            "cpu": cost.cpu,
            "peak_mb": cost.peak,
            "written_mb": cost.written if written is None else written,
            "server_share": share,
            "load": cost.load,
            "seconds_since_first_request": cost.since_first,
        }
        self.rounds.append(told)
        print(
            _line(
                str(number),
                what,
                f"{took:.2f}",
                "" if ratio is None else f"{ratio:.2f}",
                f"{cost.cpu:.2f}",
                f"{cost.peak:.0f}",
                f"{told['written_mb']:.1f}",
                "" if share is None else f"{share:.1%}",
                f"{cost.load:.1f}",
            ),
            flush=True,
        )

    def result(self, what: str, values: Sequence[float], unit: str, *, least: str = "", goal: str = "") -> None:
        """Tell what the rounds come to: their median, and each of them."""
        come_to = {"what": what, "median": median(values), "by_round": list(values), "unit": unit}
        self.results.append({**come_to, "least": least, "goal": goal})
        by_round = " ".join(f"{value:,.2f}" for value in values) if len(values) > 1 else ""
        asked = ", ".join(f"{name} {target}" for name, target in (("least", least), ("goal", goal)) if target)
        told = f"{what}: {median(values):,.2f} {unit}"
        print("-->", told, f" [{by_round}]" if by_round else "", f" ({asked})" if asked else "", flush=True)

    def note(self, text: str) -> None:
        """Tell something besides, which is kept with the results."""
        self.results.append({"note": text})
        print(f"    {text}", flush=True)


def machine() -> dict[str, Any]:
    """Return where and with what this was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "load": os.getloadavg(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def _commit() -> str:
    """Name what is measured; with -dirty where files differ from it, empty outside a repository."""
    told = run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=ROOT)
    return told.stdout.strip()


def save(file: Path, where: dict[str, Any], reports: Sequence[Report]) -> None:
    """Write everything as JSON."""
    told = {
        report.name: {
            "counts": report.size.counts,
            "rounds": report.size.rounds,
            "measured": report.rounds,
            "results": report.results,
        }
        for report in reports
    }
    file.write_text(json.dumps({"machine": where, "benchmarks": told}, indent=1) + "\n", encoding="utf-8")


def _line(  # noqa: PLR0913, PLR0917 - the columns
    number: str, what: str, seconds: str, ratio: str, cpu: str, peak: str, written: str, server: str, load: str
) -> str:
    return f"{number:>5}  {what:38}{seconds:>9}{ratio:>8}{cpu:>9}{peak:>9}{written:>12}{server:>8}{load:>6}"
