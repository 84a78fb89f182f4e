"""Many at once, for long, and rudely: attacks that need no failing disk. Each leaves what it met proven."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipeline.nightly import export
from pipeline.verify import verify
from tests.truth.reader import DONE
from tests.truth.test_kills import ROOT, Victim
from tests.truth.world import HOUR, prove

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = 20
#: Opens the snapshot, tells how many rows it sees, and once more when it is told to.
HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in range(2):
    print(connection.sql("SELECT count(*) FROM completions").fetchall()[0][0], flush=True)
    sys.stdin.readline()
"""
#: Writes into the snapshot, and waits to be killed.
ANALYST = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE mine AS SELECT 1 AS one")
print("written", flush=True)
sys.stdin.readline()
"""


@contextmanager
def begun(folder: Path) -> Iterator[Victim]:
    """Hold what a first night brought."""
    with Victim(folder) as victim:
        victim.something_happens()
        victim.recover()
        yield victim
        (folder / DONE).touch()


def healed(victim: Victim) -> float:
    """Let the next run mend what there is, prove everything, and return how long the run took."""
    before = victim.position() or 0
    began = time.monotonic()
    result = victim.run()
    seconds = time.monotonic() - began
    assert (result.exit_code, result.sources[0].complete) == (0, True)
    victim.compare(since=before - 4 * HOUR)
    assert verify(victim.config()).unexplained == 0
    return seconds


def two_at_once(folder: Path, times: int) -> list[float]:
    """Start two runs at the same moment: one works, the other does too or says that the folder is in use."""
    seconds, refused = [], 0
    with begun(folder) as victim:
        for _ in range(times):
            victim.something_happens()
            both = [victim.start() for _ in range(2)]
            told = [child.communicate()[1] for child in both]
            codes = sorted(child.returncode for child in both)
            assert codes in ([0, 0], [0, 75]), told
            assert codes == [0, 0] or any("the data folder is in use: " in said for said in told), told
            refused += 75 in codes
            seconds.append(healed(victim))
    assert refused
    return seconds


def many_readers(folder: Path, times: int) -> list[float]:
    """Publish while twenty processes read the snapshot over and over: none sees an error or anything twice."""
    seconds = []
    folder.mkdir()
    with begun(folder / "victim") as victim:
        readers = [_started("-m", "tests.truth.reader", "snapshot", folder) for _ in range(READERS)]
        for _ in range(times):
            victim.something_happens()
            seconds.append(healed(victim))
        told = [json.loads(reader.communicate()[0]) for reader in readers]
        assert [one["problems"] for one in told] == [[]] * READERS
        assert all(one["looks"] for one in told)
    return seconds


def held_open(folder: Path, times: int) -> list[float]:
    """Publish under a reader that never closes: it goes on to see what it opened, and others see the newest."""
    seconds = []
    with begun(folder) as victim:
        holder = _started("-c", HOLDER, victim.folder.snapshot)
        before = int(holder.stdout.readline())
        for _ in range(times):
            victim.something_happens()
            seconds.append(healed(victim))
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert int(holder.stdout.readline()) == before < _count(victim)
        holder.communicate()
    return seconds


def rude_analyst(folder: Path, times: int) -> list[float]:
    """Kill somebody who opened the snapshot to write: the next run publishes a sound one and says what it set aside."""
    seconds = []
    with begun(folder) as victim:
        for _ in range(times):
            victim.folder.snapshot.chmod(0o600)  # what only its owner can do
            analyst = _started("-c", ANALYST, victim.folder.snapshot)
            assert analyst.stdout.readline() == "written\n"
            analyst.kill()
            analyst.communicate()
            victim.something_happens()
            began = time.monotonic()
            result = victim.run()
            seconds.append(time.monotonic() - began)
            assert [finding.code for finding in result.findings] == ["foreign-wal"]
            for aside in victim.folder.private.glob("*.wal.*"):
                aside.unlink()
            prove(victim.data)
    return seconds


def moved_elsewhere(folder: Path, times: int) -> list[float]:
    """Copy an idle data folder: the copy is proven where it lies, and goes on from there."""
    seconds = []
    with begun(folder) as victim:
        for number in range(times):
            copy = folder / f"copy-{number}"
            shutil.copytree(victim.data, copy)
            victim.something_happens()
            config = replace(victim.config(), data=copy)
            assert verify(config).unexplained == 0
            began = time.monotonic()
            assert export(config).exit_code == 0
            seconds.append(time.monotonic() - began)
            prove(copy)
            victim.recover()
    return seconds


def nights(folder: Path, times: int) -> tuple[list[float], list[int], int]:
    """Run night after night in one process; return the seconds and resident kB of each, and the files at the end."""
    seconds, memory = [], []
    with Victim(folder) as victim:
        for _ in range(times):
            victim.clock.advance(HOUR)
            victim.add(int(victim.clock()) - 5, 2)
            began = time.monotonic()
            assert victim.run().exit_code == 0
            seconds.append(time.monotonic() - began)
            memory.append(_resident())
        prove(victim.data)
        assert verify(victim.config()).unexplained == 0
        return seconds, memory, sum(path.is_file() for path in victim.data.rglob("*"))


def _started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _count(victim: Victim) -> int:
    with closing(duckdb.connect(victim.folder.snapshot, read_only=True)) as connection:
        return int(connection.sql("SELECT count(*) FROM completions").fetchall()[0][0])


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
