"""Rows that no server should send: each costs itself, at most, and never the run, the others or the destinations."""

from __future__ import annotations

import json

import msgspec
import pytest

from pipeline import assemble
from pipeline.archive.intake import Intake
from pipeline.nightly import Asked
from pipeline.sandbox.shape import Shape

from .world import DAY, HOUR, NOW, World, completion, lives, prove, versions

BARE = {"parquet": False, "duckdb": False}
MILLISECONDS = 1000 * NOW


def codes(result):
    """Return the exit code and what was found."""
    return result.exit_code, {finding.code for finding in result.sources[0].findings}


@pytest.mark.parametrize("second", [-(2**63), -62_200_000_000, MILLISECONDS, 2**63 - 1])
def test_a_completion_of_no_year_costs_itself_alone(tmp_path, second):
    """A ``created`` that has no date is told as a reject; all else is kept and loaded, in this run and later ones."""
    with World(tmp_path, limit=20) as world:
        world.store.add(completion("odd", second))
        world.add(NOW - 1000, 3)
        assert world.run().exit_code == 3
        world.clock.advance(DAY)
        world.add(NOW + 100)
        assert world.run().exit_code == 0
        assert len(versions(world.archive())) == 5
        world.store.delete("odd")
        world.clock.advance(DAY)
        assert world.run().exit_code == 0
        prove(world.data)


def test_seconds_told_in_milliseconds(tmp_path):
    """A server that counts in milliseconds is exported night after night; nothing is called lost for it."""
    with World(tmp_path, limit=20) as world:
        world.add(MILLISECONDS - 5000, 5)
        assert codes(world.run(**BARE)) == (0, {"not-looked"})
        world.clock.advance(DAY)
        world.add(MILLISECONDS + 1000 * DAY - 100, 2)
        assert codes(world.run(**BARE)) == (0, {"not-looked"})
        assert versions(world.archive()).keys() == world.store.visible_ids()


def test_a_doubt_in_a_second_of_no_year(tmp_path):
    """A second that cannot be shown whole and has no date is told by its number, and what was shown is kept."""
    with World(tmp_path, Shape(max_limit=10)) as world:
        world.add(NOW - 5000, 2)
        world.add(MILLISECONDS, 30)
        result = world.run(**BARE)
        assert codes(result)[0] == 3
        assert f"second {MILLISECONDS}" in result.sources[0].findings[0].message
        assert len(versions(world.archive())) == 32


def test_records_of_older_versions_that_name_no_year(tmp_path):
    """What a version up to 2026-12-01 left on record of such a second is loaded as NULL."""
    with World(tmp_path) as world:
        world.add(NOW - 1000)
        world.run()
        intake = Intake(world.archive(), None, segment_size=1000, blobs=assemble.blobs(world.folder))
        (_, body), *_ = world.archive().runs()
        odd = msgspec.json.decode(body) | {"oldest_listed": -(2**62) * 1_000_000, "lost_from": MILLISECONDS * 1_000_000}
        intake.cut(world.archive().footers[-1].reading, run=("odd", msgspec.json.encode(odd)))
        assert world.run().exit_code == 0
        prove(world.data)


def test_a_list_that_begins_without_a_date_is_swept_all_the_same(tmp_path):
    """Where the oldest row has no second, the next ones tell how far back the source lists; nothing is missed."""
    with World(tmp_path, limit=10) as world:
        body = completion("undated", 0) | {"created": None}
        world.store.add(json.dumps(body).encode(), created=NOW - 10 * DAY)
        world.add(NOW - 5 * DAY, 3)
        world.add(NOW - HOUR, 3)
        world.run(**BARE)
        gone = world.add(NOW - 2 * DAY)
        world.clock.advance(HOUR)
        world.run(asked=Asked(sweep=True), **BARE)
        world.store.delete(*gone)
        world.clock.advance(HOUR)
        result = world.run(asked=Asked(sweep=True), **BARE)
        assert (codes(result), result.sources[0].gone) == ((0, set()), 1)


def test_a_row_without_an_id_is_asked_nothing(tmp_path):
    """It is kept once and never called gone: nobody can be asked for a name that is our own."""
    with World(tmp_path, limit=20) as world:
        nameless = completion("", NOW - 50_000)
        del nameless["id"]
        world.store.add(json.dumps(nameless).encode())
        world.add(NOW - 40_000)
        world.add(NOW - 1000)
        for night in range(4):
            assert codes(world.run(messages=True, asked=Asked(sweep=night > 1), **BARE)) == (0, set())
            world.clock.advance(DAY)
            world.add(int(world.clock()) - 4000, 2)
        assert [len(life) for id_, life in lives(world.archive()).items() if id_.startswith("no-id:")] == [1]
        assert not any("no-id" in request.path for request in world.server.requests)


def test_a_row_of_no_year_is_not_called_gone(tmp_path):
    """It lies where no walk of a sweep begins: listed or not, nothing is claimed of it."""
    with World(tmp_path, limit=20) as world:
        world.store.add(completion("odd", -62_200_000_000))
        world.add(NOW - 100_000, 3)
        world.add(NOW - 1000, 3)
        world.run(**BARE)
        for _ in range(2):
            world.clock.advance(DAY)
            (source,) = world.run(asked=Asked(sweep=True), **BARE).sources
            assert (source.gone, source.missed, {one.code for one in source.findings}) == (0, 0, set())
        assert len(lives(world.archive())["odd"]) == 1
