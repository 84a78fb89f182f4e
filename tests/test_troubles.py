"""What does not work is told with its place, since when, what was kept and what to do, until it works again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import troubles
from pipeline.sandbox.faults import Fault
from pipeline.troubles import MOST, _Told, after
from tests.cli.program import pipeline
from tests.truth.world import World

NIGHT = datetime(2026, 11, 25, 3, tzinfo=UTC)


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        world.add(int(world.clock()) - 60, 3)
        assert world.run().exit_code == 0
        yield world


def told(world):
    return {one.place: one for one in troubles.read(world.folder)}


def test_nothing_is_told_where_all_works(world):
    """A run that works leaves no file about troubles."""
    assert (troubles.read(world.folder), world.folder.troubles.exists()) == ([], False)


@pytest.mark.slow
def test_a_source_that_fails_is_told_until_it_works(world):
    """Since the first run that failed, with the server's words, what was kept and what to do; then it is over."""
    world.server.app.faults = (Fault("503", times=0),)
    first, second = world.run(), world.run()
    known = told(world)["source prod"]
    assert (known.since, known.last, known.runs, known.exit_code) == (first.started, second.started, 2, 75)
    assert f"source prod: {known.what}" == second.sources[0].why_not
    assert "503" in known.what
    assert known.kept.startswith("0 new, 0 changed, complete through ")
    assert "run again" in known.hint
    world.server.app.faults = ()
    third = world.run()
    assert (told(world)["source prod"].over, told(world)["source prod"].runs) == (third.started, 2)


@pytest.mark.slow
def test_a_destination_that_fails_is_told(world):
    """What cannot be published is told by its name; the source is not blamed for it."""
    world.folder.snapshot.unlink()
    world.folder.snapshot.mkdir()
    world.add(int(world.clock()) - 5)
    assert world.run().exit_code == 78
    assert told(world).keys() == {"snapshot"}
    assert "readers see what was there before" in told(world)["snapshot"].kept
    world.folder.snapshot.rmdir()
    assert world.run().exit_code == 0
    assert told(world)["snapshot"].over is not None


@pytest.mark.slow
def test_status_shows_them(world):
    """`status` says what does not work beside its rows; `--troubles` lists all, those that are over too."""
    world.server.app.faults = (Fault("503", times=0),)
    world.run()
    done = pipeline("status", "--data", world.data, "--format", "json")
    assert json.loads(done.stdout)[0]["source"] == "prod"
    assert "source prod: since 20" in done.stderr
    (row,) = json.loads(pipeline("status", "--data", world.data, "--format", "json", "--troubles").stdout)
    assert (row["place"], row["runs"], row["exit_code"], row["over"]) == ("source prod", 1, 75, None)


@pytest.mark.slow
def test_a_file_that_is_not_ours_stops_no_run(world):
    """A damaged file of troubles fails neither a run nor its exit code; `status` says which file it is."""
    world.folder.troubles.write_text("no JSON")
    assert world.run().exit_code == 0
    assert "delete it" in pipeline("status", "--data", world.data).stderr


def test_what_is_over_makes_room_first():
    """However many troubles there were, those that are not over stay, the latest first."""
    known = []
    for number in range(2 * MOST):
        name = f"source {number}"
        known = after(known, [_Told(name, 75, "down")], NIGHT + timedelta(hours=2 * number))
        if number:
            known = after(known, [_Told(name, 0)], NIGHT + timedelta(hours=2 * number + 1))
    assert len(known) == MOST
    assert [one.place for one in known[:2]] == ["source 0", f"source {2 * MOST - 1}"]
    assert [one.over is None for one in known] == [True] + [False] * (MOST - 1)


def test_a_place_that_is_not_told_of_stays_as_it_is():
    """A run that says nothing of a place neither ends nor prolongs its trouble; a new trouble begins anew."""
    known = after([], [_Told("parquet", 75, "full")], NIGHT)
    assert after(known, [_Told("duckdb", 0)], NIGHT) == known
    later = NIGHT + timedelta(days=1)
    again = after(after(known, [_Told("parquet", 0)], later), [_Told("parquet", 3, "odd")], later)
    assert [(one.since, one.what, one.runs) for one in again] == [(later, "odd", 1), (NIGHT, "full", 1)]
