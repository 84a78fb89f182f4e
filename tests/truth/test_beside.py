"""The helper that loads beside a long walk: what it does counts, the run does the rest, and it outlives none."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pytest

from pipeline import beside, failpoints, nightly
from pipeline.ahead import next_batch
from pipeline.beside import Beside
from pipeline.catchup import Growing
from pipeline.errors import FolderError
from pipeline.handoff import Batch
from pipeline.nightly import export
from pipeline.stopping import Stop
from pipeline.transform.flatten import flatten

from .test_kills import ROOT, Victim
from .world import DAY, NOW, World, prove


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


@pytest.fixture
def handed(monkeypatch):
    """Note what every helper asks its run for."""
    asked = []
    hand_over = Beside._flatten
    monkeypatch.setattr(Beside, "_flatten", lambda self, what, stop: asked.append(what) or hand_over(self, what, stop))
    return asked


def numbers(batches):
    return [batch.bookmark.segment for batch in batches if batch is not None]


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
def test_a_run_flattens_what_is_left_for_its_helper(world, told, handed):
    """When its walk has ended the run hands over, once each, the segments that the helper has not flattened by then."""
    world.run()
    (asked,) = handed
    assert (asked.source, asked.through) == ("prod", world.archive().last)
    assert told[0].lanes["parquet"] == (world.archive().last, 200)
    prove(world.data)


@pytest.mark.parametrize("taken", [0, 3, None])
def test_what_is_not_handed_over_is_flattened_here(original, taken):
    """Whether nothing, some or all of a growing archive is flattened elsewhere: each segment once, in their order."""
    archive = original.archive()
    asked = []

    def flattened(after, through):
        asked.append((after, through))
        return map(flatten, archive.after(after, through if taken is None else min(after + taken, through)))

    growing = Growing(archive, 2, flattened)
    batches = growing.batches(0, tokens=False)
    found = [next(batches) for _ in range(2)]
    assert next(batches) is None
    growing.reach(archive.last)
    growing.end()
    found += batches
    assert numbers(found) == list(range(1, archive.last + 1))
    assert asked[0] == (0, 2)
    assert (asked[-1][1], len(asked) == 2) == (archive.last, taken is None)


@pytest.mark.parametrize("obstacle", ["none", "stop", "damage"])
def test_a_run_hands_over_as_far_as_it_gets(original, tmp_path, obstacle):
    """All that is asked for; asked to stop, or where it cannot read a segment, it hangs up behind what came before."""
    archive, stop = original.archive(), Stop()
    path = archive.path(5)
    whole = path.read_bytes()
    helper = Beside(original.config(), [archive], 0)
    helper._batches = (tmp_path / "pipe").open("wb")
    if obstacle == "stop":
        stop.ask()
    elif obstacle == "damage":
        path.write_bytes(whole[: len(whole) // 2])
    try:
        helper._answer(msgspec.json.encode(beside._Asked("prod", 2, 7)), stop)
    finally:
        path.write_bytes(whole)
    assert (helper._batches is None) == (obstacle != "none")
    helper._hang_up()
    said = io.BytesIO((tmp_path / "pipe").read_bytes())
    found = list(iter(lambda: next_batch(said), None))
    assert numbers(found) == {"none": [3, 4, 5, 6, 7], "stop": [], "damage": [3, 4]}[obstacle]
    assert [batch.tables for batch in found] == [flatten(one).tables for one in archive.after(2, 2 + len(found))]


def test_a_run_hangs_up_behind_a_segment_that_is_lost(original, tmp_path):
    """Where the newest segment is gone, what is there is handed over, and the helper waits for nothing more."""
    whole = original.archive()
    path = whole.path(whole.last)
    content = path.read_bytes()
    path.unlink()
    try:
        archive = original.archive()
        helper = Beside(original.config(), [archive], 0)
        helper._batches = (tmp_path / "pipe").open("wb")
        helper._answer(msgspec.json.encode(beside._Asked("prod", archive.last - 2, archive.last)), Stop())
    finally:
        path.write_bytes(content)
    assert (archive.last, helper._batches) == (whole.last, None)
    said = io.BytesIO((tmp_path / "pipe").read_bytes())
    assert numbers(iter(lambda: next_batch(said), None)) == [whole.last - 1]


def test_what_is_no_question_is_passed_over(original, tmp_path):
    """Whatever else a helper's libraries say, the run goes on."""
    helper = Beside(original.config(), [original.archive()], 0)
    helper._batches = (tmp_path / "pipe").open("wb")
    helper._answer(b"DeprecationWarning: soon", Stop())
    assert (tmp_path / "pipe").stat().st_size == 0
    helper._answer(msgspec.json.encode(beside._Asked("prod", 0, 1)), Stop())
    helper._hang_up()
    assert (tmp_path / "pipe").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_helper_ends_where_another_source_lacks_its_newest_segment(world, told):
    """A source of which the newest segment was lost, and that nobody can ask now, keeps no run from its end."""
    lost = replace(world.source(), name="lost")
    assert export(replace(world.config(parquet=False, duckdb=False), sources=(lost,))).exit_code == 0
    archive = world.archive("lost")
    archive.path(archive.last).unlink()
    held = sum(footer.completions for footer in archive.footers if footer.number < archive.last)
    away = replace(lost, base_url="http://127.0.0.1:9/v1")
    result = export(replace(world.config(), sources=(world.source(), away)))
    assert (result.exit_code, loaded(result)["parquet"][1]) == (78, 200 + held)
    assert told[-1].lanes


@pytest.mark.slow
@pytest.mark.usefixtures("told")
def test_what_a_helper_cannot_open_is_told_by_the_run_alone(world, capfd):
    """A folder that leads nowhere is no traceback of the helper's: the run meets it too, and says what it is."""
    world.data.mkdir()
    (world.data / "archive").mkdir()
    (world.data / "parquet").symlink_to("parquet")
    with pytest.raises(FolderError, match="cannot be a data folder"):
        world.run()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["helper", "run"])
def test_an_end_while_batches_are_handed_over_costs_nothing(world, told, monkeypatch, ends):
    """Where the run hangs up, the helper flattens the rest; where the helper is gone, the run loads it."""
    dump, count = pickle.dump, iter(range(1000))

    def dumped(batch, to, **more):
        dump(batch, to, **more)
        if isinstance(batch, Batch) and next(count) == 4:
            to.flush()
            raise BrokenPipeError if ends == "run" else killed()

    def killed():
        helpers[0].kill()
        return BrokenPipeError

    helpers = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **more: helpers.append(start(*a, **more)) or helpers[-1])
    monkeypatch.setattr(pickle, "dump", dumped)
    # The helper hears of nothing before the walk has ended, so that enough is left to be handed over.
    monkeypatch.setattr(Beside, "tell", lambda self, _source, _last, received: self.expect(received))
    result = world.run()
    assert next(count) > 4
    assert (result.exit_code, loaded(result)["duckdb"]) == (0, (world.archive().last, 200))
    assert (told[0].lanes == {}) == (ends == "helper")
    prove(world.data)


@pytest.mark.slow
def test_rejects_found_by_a_helper_are_told(world, told):
    """A value that fits no column makes the run end with 3, also where the helper met it."""
    world.add(NOW - 2000, seed="no number")
    result = world.run()
    assert (result.exit_code, result.sources[0].rejected) == (3, 1)
    assert sum(sum(found.values()) for found in told[0].rejected.values()) == 1


@pytest.mark.slow
def test_rejects_found_by_a_helper_that_dies_are_told(world, told, monkeypatch):
    """Where the helper made rows durable and is killed before it says so, the run looks for what was rejected."""
    monkeypatch.setenv(failpoints.VARIABLE, "parquet.manifest=kill:2")  # this process has read it already
    world.add(NOW - 9 * DAY, seed="no number")
    for days in (8, 7, 6, 5):
        world.add(NOW - days * DAY, 6)
    result = world.run(duckdb=False)
    assert (told[0].is_told, loaded(result)["parquet"] < (world.archive().last, 225)) == (False, True)
    assert (result.exit_code, result.sources[0].rejected) == (3, 1)


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
    note, died = tmp_path / "note", []
    with Victim(tmp_path / place) as victim:
        for number in (1, 2, 5, 9):
            victim.something_happens()
            note.unlink(missing_ok=True)
            environment = {**os.environ, failpoints.VARIABLE: f"{place}=kill:{number}", "NOTED": str(note)}
            command = [sys.executable, "-m", "tests.truth.pipelined", "run", "--json", "--config", victim.file]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            assert done.returncode or json.loads(done.stdout)["exit_code"] == 0
            assert done.returncode or note.exists(), "there was no helper"
            died.append(done.returncode != 0 or json.loads(note.read_text()) == [])
            time.sleep(1)  # a helper lets go of the folder when it sees that its run is gone
            victim.recover()
    assert died[0], "nobody was killed"
