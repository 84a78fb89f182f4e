"""Limits that were asked for: a run ends at them in peace, and runs that end so reach what one run reaches."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest

from pipeline import nightly
from pipeline.nightly import Asked, export
from pipeline.sandbox.faults import Fault
from pipeline.verify import verify

from .world import DAY, HOUR, NOW, World, prove, versions

BARE = {"parquet": False, "duckdb": False}
#: More than any of these worlds needs.
MOST_RUNS = 60
THREE = Asked(max_pages=3)
#: No run can keep to it: each is over as soon as it may be.
NO_TIME = Asked(max_runtime=1e-9)


@pytest.fixture
def world(tmp_path):
    """Serve 60 completions, a few in each second, all of them within the overlap, to a source of small pages."""
    with World(tmp_path, limit=5, overlap=4.0 * HOUR) as one:
        for second in range(0, 40, 2):
            one.add(NOW - 1000 + second, 3)
        one.clock.advance(HOUR)
        yield one


def until_complete(world, asked, **settings):
    """Run again and again; check that each run claims nothing that it has not read; return what each told."""
    told = []
    for _ in range(MOST_RUNS):
        result = world.run(asked=asked, **settings)
        (source,) = result.sources
        told.append(source)
        assert (result.exit_code, result.stopped) == (0, False)
        missing = world.store.visible_ids() - set(versions(world.archive()))
        through = world.position()
        assert all(through is None or world.store._rows[id_].created > through for id_ in missing)
        if source.complete:
            return told
    raise AssertionError("no end in sight")


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["from the oldest", "from both ends"])
def test_repeated_runs_of_three_pages_reach_the_same_rows_as_one(world, monkeypatch, ends):
    """Every run gets three pages further, however much it reads again, until nothing listed is missing."""
    monkeypatch.setattr(nightly, "SLOW", 0 if ends == "from both ends" else 1e9)
    monkeypatch.setattr(nightly, "LONG", 1)
    told = until_complete(world, THREE, **BARE)
    assert len(told) > 3
    assert all(
        one.limited and one.why_not == "max-pages (3) was reached before the end of the list" for one in told[:-1]
    )
    assert not told[-1].limited
    assert sum(one.new for one in told) == 60
    world.run()
    assert set(versions(world.archive())) == world.store.visible_ids()
    assert verify(world.config()).unexplained == 0
    prove(world.data)


@pytest.mark.parametrize("asked", [THREE, Asked(max_runtime=0.4)], ids=["pages", "runtime"])
def test_what_is_under_way_at_a_limit_is_kept(world, monkeypatch, asked):
    """Both ends were asked before the limit was reached: what either of them shows is kept."""
    monkeypatch.setattr(nightly, "SLOW", 0)
    monkeypatch.setattr(nightly, "LONG", 1)
    world.server.app.latency = 0.05
    (source,) = world.run(asked=asked, **BARE).sources
    assert source.limited
    assert set(versions(world.archive())) == {id_ for id_, _ in world.store.shown}


@pytest.mark.slow
def test_what_was_kept_is_loaded_and_published(world):
    """A limit ends the questions alone: tables and snapshot hold what the archive holds."""
    for asked in (THREE, NO_TIME):
        result = world.run(asked=asked)
        assert result.sources[0].limited
        assert result.published
        assert 0 < len(versions(world.archive())) < 60
        prove(world.data)


@pytest.mark.slow
def test_repeated_runs_without_time_reach_the_same_rows_as_one(world):
    """Even a run that has no time gets a page further than the one before, and the rest comes with the others."""
    world.server.app.latency = 0.002
    told = until_complete(world, NO_TIME, **BARE)
    assert {one.why_not for one in told[:-1]} == {"max-runtime was reached before the end of the list"}
    assert sum(one.new for one in told) == 60
    world.run()
    prove(world.data)


def test_a_slow_server_is_left_in_the_middle(world):
    """Time that runs out during the walk ends it there: neither before the first page nor after the last."""
    world.server.app.latency = 0.2
    first = world.run(asked=Asked(max_runtime=1.0), **BARE).sources[0]
    assert (first.limited, 0 < first.new < 60) == (True, True)
    world.server.app.latency = 0.0
    assert world.run(**BARE).sources[0].new == 60 - first.new


def test_a_wait_between_attempts_ends_with_the_time(world):
    """What the server asks to wait is not waited for beyond the time: the run is limited, not failed."""
    world.server.app.faults = (Fault("503", at=5, times=0, header="retry-after", value="100"),)
    result = world.run(asked=Asked(max_runtime=0.5), retry_attempts=5, retry_time=1000.0, **BARE)
    assert (result.exit_code, result.sources[0].limited) == (0, True)


def test_a_server_that_fails_before_a_limit_is_told_as_failing(world):
    """A run without time that gets nowhere says what failed, and not that its time was up."""
    world.run(**BARE)
    world.server.app.faults = (Fault("503", at=world.lists() + 1, times=0),)
    result = world.run(asked=NO_TIME, **BARE)
    assert (result.exit_code, result.sources[0].limited) == (75, False)


@pytest.mark.slow
def test_each_source_has_its_share(world, tmp_path):
    """A source with much to read leaves the others time and pages: all get further in every run."""
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other", limit=5) as other:
        for second in range(40):
            other.add(NOW - 1000 + second)
        config = world.config(**BARE)
        config = replace(config, sources=(config.sources[0], replace(other.source(), name="second")))
        for asked, _ in itertools.product((NO_TIME, THREE), range(2)):
            told = export(config, asked=asked).sources
            assert [(one.limited, one.new > 0) for one in told] == [(True, True), (True, True)]


@pytest.mark.slow
def test_a_sweep_within_limits_finds_what_one_sweep_finds(tmp_path):
    """Sweeps of three pages, run after run, find the edit and the deletion, and nothing else is called gone."""
    with World(tmp_path, limit=5) as world:
        ids = [world.add(NOW - age)[0] for age in range(10 * DAY, 0, -6 * HOUR)]
        world.run(**BARE)
        world.store.edit(ids[4], {"team": "search"})
        world.store.delete(ids[20])
        found = [0, 0]
        for number in range(MOST_RUNS):
            world.clock.advance(60)
            (source,) = world.run(asked=replace(THREE, sweep=number == 0), **BARE).sources
            found = [found[0] + source.changed, found[1] + source.gone]
            if found == [1, 1]:
                break
        assert (found, number > 1) == ([1, 1], True)
        world.run()
        prove(world.data)


def test_input_messages_wait_for_the_next_run(world, monkeypatch):
    """Time that is up ends the messages too: what was fetched is kept, and the rest comes with the next run."""
    real, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead[0])

    def observe(told):
        ahead[0] = 7200.0 if told.messages >= 5 else 0.0

    config = world.config(messages=True, messages_at_once=4, **BARE)
    (first,) = export(config, asked=Asked(max_runtime=3600.0), observe=observe).sources
    assert first.why_not == "max-runtime was reached before all that follows the walk was done"
    assert (first.limited, first.new, 5 <= first.messages < 60) == (True, 60, True)
    (second,) = export(config).sources
    assert (second.complete, first.messages + second.messages) == (True, 60)


@pytest.mark.slow
def test_only_the_sources_named_are_asked(world, tmp_path):
    """The other source is not asked, and what it has archived is loaded and published all the same."""
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other") as other:
        other.add(NOW - 1000, 2)
        config = world.config()
        config = replace(config, sources=(config.sources[0], replace(other.source(), name="second")))
        export(replace(config, parquet=False, duckdb=False), asked=Asked(only=("second",)))
        asked = len(other.server.requests)
        assert (world.lists(), asked > 0) == (0, True)
        result = export(config, asked=Asked(only=("prod",)))
        assert ([one.source for one in result.sources], len(other.server.requests)) == (["prod"], asked)
        assert result.destinations[0].completions == 62
        prove(world.data)
