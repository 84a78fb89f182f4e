"""The helper that loads beside a long walk: what it does counts, the run does the rest, and it outlives none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline import beside, failpoints, nightly
from pipeline.beside import Beside
from pipeline.nightly import export
from pipeline.stopping import Stop

from .test_kills import ROOT, Victim
from .world import NOW, World, prove


@pytest.fixture
def told(monkeypatch):
    """Let every run have a helper, and note what each says that it did."""
    monkeypatch.setattr(beside, "ENOUGH", 0)
    monkeypatch.setattr(nightly, "LONG", 0)
    monkeypatch.setattr(nightly, "SLOW", 0)
    said = []
    end = Beside.end
    monkeypatch.setattr(Beside, "end", lambda self, stop: said.append(end(self, stop)) or said[-1])
    return said


@pytest.fixture
def world(tmp_path):
    """Serve 200 completions, a second apart, to a source of small segments."""
    with World(tmp_path, limit=5, overlap=0.0, segment_size=5_000) as one:
        for second in range(200):
            one.add(NOW - 1000 + second)
        one.clock.advance(3600)
        yield one


def loaded(result):
    return {done.destination: (done.segments, done.completions) for done in result.destinations}


@pytest.mark.slow
def test_a_helper_loads_everything_and_is_counted(world, told):
    """What the helper loaded is what the run says that was loaded, and both destinations hold it."""
    result = world.run()
    segments = world.archive().last
    assert (result.exit_code, loaded(result)) == (0, {"parquet": (segments, 200), "duckdb": (segments, 200)})
    assert told[0].lanes.keys() == {"parquet", "duckdb"}
    assert all(count > 0 for _, count in told[0].lanes.values())
    prove(world.data)


@pytest.mark.slow
def test_rejects_found_by_a_helper_are_told(world, told):
    """A value that fits no column makes the run end with 3, also where the helper met it."""
    world.add(NOW - 2000, seed="no number")
    result = world.run()
    assert (result.exit_code, result.sources[0].rejected) == (3, 1)
    assert sum(sum(found.values()) for found in told[0].rejected.values()) == 1


@pytest.mark.parametrize(
    "place",
    [
        "parquet.merged",
        "duckdb.committed",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("parquet.manifest", "files.renamed", "duckdb.inserted")
        ),
    ],
)
def test_a_helper_that_dies_costs_nothing(world, told, monkeypatch, place):
    """Where the helper is killed, the run loads the rest itself and ends as if nothing had been."""
    monkeypatch.setenv(failpoints.VARIABLE, f"{place}=kill:1")  # this process has read it already
    result = world.run()
    assert told[0].lanes == {}
    assert (result.exit_code, result.sources[0].new) == (0, 200)
    prove(world.data)


@pytest.mark.slow
def test_a_stop_ends_the_helper_too(world, told):
    """A run that is asked to stop waits for no more than what the helper has in hand, and the next one goes on."""
    stop = Stop()
    result = export(world.config(), stop=stop, observe=lambda seen: seen.pages >= 20 and stop.ask())
    assert result.stopped
    assert len(told) == 1
    assert world.run().exit_code == 0
    prove(world.data)


@pytest.mark.slow
def test_a_helper_ends_with_its_run(tmp_path):
    """Where the run is killed, its helper lets go of the folder at once, and the next run finds everything right."""
    with Victim(tmp_path / "victim") as victim:
        for second in range(300):
            victim.add(NOW - 1000 + second)
        victim.clock.advance(3600)
        environment = {**os.environ, failpoints.VARIABLE: "run.extracted=kill:1"}
        command = [sys.executable, "-m", "tests.truth.pipelined", "run", "--config", victim.file]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 30
        while (result := subprocess.run(command, cwd=ROOT, capture_output=True, check=False)).returncode == 75:
            assert time.monotonic() < deadline, result.stderr
        assert result.returncode == 0, result.stderr
        victim.compare(since=0)


#: Places that a helper passes, or the walk beside it.
PLACES = ("files.renamed", "archive.cut", "run.page", "parquet.merged", "duckdb.inserted", "run.extracted")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", PLACES)
def test_kills_of_pipelined_runs(tmp_path, place):
    """SIGKILL in the run or in its helper, at several passes of a place: the next run mends each."""
    with Victim(tmp_path / place) as victim:
        for number in (1, 2, 5, 9):
            victim.something_happens()
            environment = {**os.environ, failpoints.VARIABLE: f"{place}=kill:{number}"}
            command = [sys.executable, "-m", "tests.truth.pipelined", "run", "--json", "--config", victim.file]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            assert done.returncode or json.loads(done.stdout)["exit_code"] == 0
            time.sleep(1)  # a helper lets go of the folder when it sees that its run is gone
            victim.recover()
