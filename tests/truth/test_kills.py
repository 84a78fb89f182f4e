"""Runs that are killed, at every named place and at any time: the next run mends all, and no reader ever notices."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import failpoints

from .reader import DONE
from .world import HOUR, World, assert_kept_once, prove, same, versions

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
RUN = ("run", "--json")
SETTINGS = """
data = "{data}"
[sources.prod]
base_url = "{base_url}"
api_key = "file:{key}"
limit = 4
overlap = "4h"
segment_size = "2000"
"""


class Victim(World):
    """A world whose runs are processes that may be killed."""

    settings = SETTINGS

    def __init__(self, folder):
        folder.mkdir()
        super().__init__(folder)
        self.file = folder / "pipeline.toml"
        self.random = random.Random(folder.name)

    def __enter__(self):
        super().__enter__()
        self.file.write_text(self.settings.format(data=self.data, base_url=self.server.base_url, key=self._key))
        return self

    def something_happens(self):
        """Let some hours pass in which completions are stored, some of them late, and one is edited."""
        self.clock.advance(HOUR)
        now = int(self.clock())
        for ago in (5, 5, 9, 30, 700, 701, 703, 2 * HOUR):
            self.add(now - ago)
        self.add(now - 3 * HOUR, 2)
        recent = [id_ for id_, body in self.store.bodies().items() if json.loads(body)["created"] > now - HOUR]
        self.store.edit(self.random.choice(recent), {"edited": str(now)})

    def start(self, plan="", command=RUN):
        environment = {**os.environ, failpoints.VARIABLE: plan}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command, "--config", self.file],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_and_die(self, plan):
        """Run until the failpoint kills it; returns whether it did."""
        self.something_happens()
        return self.dies(plan)

    def dies(self, plan, command=RUN):
        """Run a command to its end or until the failpoint kills it; returns whether it did."""
        _, said = (child := self.start(plan, command)).communicate()
        assert child.returncode in (0, -signal.SIGKILL), said
        return child.returncode != 0

    def time_a_run(self):
        """Run undisturbed, and note in ``whole`` how long that takes."""
        self.something_happens()
        began = time.monotonic()
        _, said = (child := self.start()).communicate()
        assert child.returncode == 0, said
        self.whole = time.monotonic() - began

    def run_for(self, seconds):
        """Run and kill it after a while; returns whether it still ran."""
        self.something_happens()
        child = self.start()
        try:
            _, said = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return True
        assert child.returncode == 0, said
        return False

    def recover(self):
        """Run once more, undisturbed, and compare everything with the server."""
        before = self.position() or 0
        result = self.run()
        assert (result.exit_code, result.sources[0].complete) == (0, True)
        self.compare(since=before - 4 * HOUR)

    def compare(self, since):
        held, listed = versions(self.archive()), self.store.bodies()
        assert held.keys() == listed.keys()
        for id_, body in listed.items():
            assert json.loads(body)["created"] <= since or same(held[id_][-1], body)
        assert_kept_once(self.archive())
        prove(self.data)


@contextmanager
def watched(parent):
    """Let both readers look on while the block runs; they must have seen something, and nothing wrong.

    They look as often as they can, and leave the machine to those who are looked at.
    """
    readers = [
        subprocess.Popen(
            ["nice", "-n", "15", sys.executable, "-m", "tests.truth.reader", kind, parent],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in ("snapshot", "parquet")
    ]
    try:
        yield
    finally:
        told = [json.loads(reader.communicate()[0]) for reader in readers]
    problems = [problem for one in told for problem in one["problems"]]
    assert problems == [], problems  # outside pytest they would not be told
    assert all(one["looks"] > 0 for one in told)


def kill_at(folder, name, passes, *, nights=0):
    """Kill a run at each of the given passes of a place, until one passes untouched; returns how many died.

    The first kill meets a folder that some undisturbed ``nights`` were exported to.
    """
    with Victim(folder) as victim:
        for _ in range(nights):
            victim.something_happens()
            victim.recover()
        for died, number in enumerate(passes):
            if not victim.run_and_die(f"{name}=kill:{number}"):
                victim.compare(since=int(victim.clock()) - HOUR)
                (folder / DONE).touch()
                return died
            victim.recover()
    return len(passes)


#: Place, pass, and whether the folder was new.
FEW = [
    ("files.renamed", 1, True),
    ("archive.cut", 2, True),
    ("run.page", 2, False),
    ("parquet.merged", 3, False),
    ("duckdb.inserted", 1, False),
    ("snapshot.copied", 1, False),
]


@pytest.mark.slow
@pytest.mark.both_duckdbs
def test_a_killed_run_is_mended_by_the_next(tmp_path):
    """One kill in each stage: the next run leaves both destinations equal to the source, and readers see no trace."""
    with watched(tmp_path), ThreadPoolExecutor(AT_ONCE) as pool:
        deaths = [
            pool.submit(kill_at, tmp_path / name, name, [number], nights=not is_new) for name, number, is_new in FEW
        ]
        assert [death.result() for death in deaths] == [1] * len(FEW)


#: What a plain run does not pass: it fetches no messages, sweeps nothing, makes nothing anew.
ELSEWHERE = {"run.messages", "run.swept", "archive.rewritten", "files.exchanged", "rebuild.loaded"}
#: Nor does it forget, write Delta tables or push.
OTHERS = ("forget.", "delta.", "remote.")
PASSED = [name for name in failpoints.NAMES if name not in ELSEWHERE and not name.startswith(OTHERS)]


#: At which passes of each place, as far as there are so many; a soak kills at any call and at any moment.
PASSES = (1, 2, 4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_every_named_place(tmp_path):
    """SIGKILL at every failpoint, more than once: the next run mends each, and the polling readers never notice."""
    with watched(tmp_path), ThreadPoolExecutor(AT_ONCE) as pool:
        deaths = {name: pool.submit(kill_at, tmp_path / name, name, PASSES) for name in PASSED}
        died = {name: death.result() for name, death in deaths.items()}
    assert all(died.values()), died
    assert sum(died.values()) >= 24, died


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_any_time(tmp_path, seed):
    """SIGKILL at random moments of a run; the seed is in the test's name."""
    at = random.Random(seed)
    with watched(tmp_path), Victim(tmp_path / "victim") as victim:
        victim.time_a_run()
        died = 0
        while died < 6:
            asked = victim.lists()
            died += victim.run_for(at.uniform(0.3, 1.0) * victim.whole) and victim.lists() > asked
            victim.recover()
