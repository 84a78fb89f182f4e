"""The tables made by Spark and by a local rebuild, of one archive: completions per second and core.

Both are measured as their users run them, start included, and compared row for row. What Spark shuffled and wrote is
read from its event log.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.measure import Measured, measured
from tests.bench.ours import Program
from tests.bench.service import ROOT, serving
from tests.spark.session import counted, different

if TYPE_CHECKING:
    from tests.bench.report import Report

BIN = ROOT / ".venv-spark" / "bin"
CORES = 2
_SETTINGS = {
    "spark.master": f"local[{CORES}]",
    "spark.driver.memory": "6g",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
}


@dataclass(slots=True)
class Tasks:
    """What the tasks of one stage did, in seconds and bytes."""

    name: str
    count: int = 0
    seconds: float = 0.0
    shuffled: int = 0
    spilled: int = 0
    written: int = 0


def measure(report: Report) -> None:
    """Measure rebuilding the Parquet dataset, locally and on Spark, over what one export brought."""
    if not BIN.exists():
        sys.exit("Spark's environment is missing: make .venv-spark/made")
    count = report.size.counts[-1]
    local, spark = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(count) as service:
            program = Program.of(folder, service)
            program.night()
        offline = Program(folder, f"{service.url}/v1")
        archive = sum(file.stat().st_size for file in (offline.data / "archive").rglob("*.parquet"))
        report.note(f"the archive has {archive / 1e6:,.0f} MB in {_segments(offline)} segments")
        for number in range(1, report.size.rounds + 1):
            cost = offline.measure("rebuild", "parquet")
            local.append(count / cost.seconds)
            report.took(number, "rebuild parquet", cost)
            out = folder / f"out-{number}"
            cost, stages = _spark(folder, offline.data / "archive", out)
            spark.append(count / cost.seconds)
            report.took(number, f"Spark, local[{CORES}]", cost)
            _tell(report, stages)
            if differing := different(offline.data / "parquet", out):
                sys.exit(f"Spark's tables are others: {', '.join(differing)}")
        report.note(f"equal, row for row: {counted(out)}")
    report.result("rebuild parquet", local, "completions/s")
    report.result("Spark", spark, "completions/s")
    report.result("Spark, per core", [speed / CORES for speed in spark], "completions/s")


def _segments(program: Program) -> int:
    return len(list((program.data / "archive").rglob("*.parquet")))


def _spark(folder: Path, archive: Path, out: Path) -> tuple[Measured, list[Tasks]]:
    log = folder / f"{out.name}-log"
    log.mkdir()
    settings = {**_SETTINGS, "spark.local.dir": str(folder / "spark"), "spark.eventLog.dir": log.as_uri()}
    options = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    job = ROOT / "configs" / "spark" / "flatten.py"
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    cost = measured([BIN / "spark-submit", *options, job, archive, out], env=env)
    return cost, _stages(log)


def _stages(log: Path) -> list[Tasks]:
    """Read what the tasks did, stage by stage, those that took longest first."""
    stages: dict[int, Tasks] = {}
    for file in sorted(path for path in log.rglob("*") if path.is_file() and not path.name.endswith(".crc")):
        for line in file.read_text(encoding="utf-8").splitlines():
            _take(stages, json.loads(line))
    return sorted(stages.values(), key=lambda one: -one.seconds)


def _take(stages: dict[int, Tasks], event: dict[str, Any]) -> None:
    if event["Event"] == "SparkListenerStageSubmitted":
        info = event["Stage Info"]
        scopes = {json.loads(rdd["Scope"])["name"] for rdd in info["RDD Info"] if rdd.get("Scope")}
        stages[info["Stage ID"]] = Tasks(f"stage {info['Stage ID']}: {', '.join(sorted(scopes))}")
    elif event["Event"] == "SparkListenerTaskEnd" and event.get("Task Metrics"):
        told, stage = event["Task Metrics"], stages[event["Stage ID"]]
        stage.count += 1
        stage.seconds += told["Executor Run Time"] / 1000
        stage.shuffled += told["Shuffle Write Metrics"]["Shuffle Bytes Written"]
        stage.spilled += told["Disk Bytes Spilled"]
        stage.written += told["Output Metrics"]["Bytes Written"]


def _tell(report: Report, stages: list[Tasks]) -> None:
    for name in ("shuffled", "spilled", "written"):
        report.note(f"{name}: {sum(getattr(one, name) for one in stages) / 1e6:,.0f} MB")
    for one in stages[:6]:
        report.note(
            f"{one.seconds:,.1f} s in {one.count} tasks, {one.shuffled / 1e6:,.0f} MB shuffled, "
            f"{one.spilled / 1e6:,.0f} spilled, {one.written / 1e6:,.0f} written: {one.name}"
        )
