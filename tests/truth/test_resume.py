"""Runs that end early, and runs that find a changed world: each goes on where the former one was, and proves it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest

from pipeline import failpoints, nightly
from pipeline.archive import coverage
from pipeline.errors import FolderError, ServerError
from pipeline.extract.client import Client
from pipeline.failpoints import FailpointError
from pipeline.nightly import export
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.shape import Shape
from pipeline.status import status
from pipeline.stopping import Stop

from .world import DAY, HOUR, NOW, World, prove, versions

BARE = {"parquet": False, "duckdb": False}
PAGE, SEGMENT_PAGES = 5, 6
#: Requests of a first run before its walk: both ends of the list are asked.
ENDS = 2


@pytest.fixture(params=["from the oldest", "from both ends"])
def world(request, tmp_path, monkeypatch):
    """Serve 100 completions, a second apart, none late, to a source whose segments hold about six pages."""
    if request.param == "from both ends":
        monkeypatch.setattr(nightly, "SLOW", 0)
    with World(tmp_path, limit=PAGE, overlap=0.0, segment_size=SEGMENT_PAGES * PAGE * 400) as one:
        for second in range(100):
            one.add(NOW - 1000 + second)
        one.clock.advance(HOUR)
        yield one


def held(world):
    return set(versions(world.archive()))


def spans(world):
    return world.archive().spans(world.source().fingerprint)


def asked(world, run):
    """Count the list requests that a run makes."""
    before = world.lists()
    run()
    return world.lists() - before


# -- interrupted --------------------------------------------------------------------------------------------------


def test_a_crash_costs_one_segment_at_most(world):
    """After a crash at page 20 of 25 the next run asks for the rest and for no more than one segment again."""
    whole = asked(world, lambda: World.run(world, **BARE))
    shutil.rmtree(world.data)
    with failpoints.armed("run.page=raise:20"), pytest.raises(FailpointError):
        world.run(**BARE)
    kept, position = held(world), world.position()
    assert len(kept) > 50
    again = asked(world, lambda: World.run(world, **BARE))
    assert again <= whole - 20 + SEGMENT_PAGES + 3
    assert position < world.position()
    assert kept < held(world) == world.store.visible_ids()


@pytest.mark.parametrize("pages", [2, 20])
def test_a_failing_server_costs_nothing(world, pages):
    """Whatever was shown before the server failed is kept, and the next run asks for what follows only."""
    whole = asked(world, lambda: World.run(world, **BARE))
    shutil.rmtree(world.data)
    world.server.app.faults = [Fault("500", world.lists() + ENDS + pages + 1, times=0)]
    result = world.run(**BARE)
    world.server.app.faults = []
    assert (result.exit_code, result.sources[0].complete, result.sources[0].pages) == (75, False, pages)
    assert held(world) == {id_ for id_, _ in world.store.shown}
    assert asked(world, lambda: World.run(world, **BARE)) <= whole - pages + 5
    assert held(world) == world.store.visible_ids()


def test_what_comes_while_the_other_end_fails_is_kept(tmp_path, monkeypatch):
    """Where one end fails, the answer that is on its way from the other one was shown too, and is kept."""
    real = Client.list

    def list_(client, request):
        if request.order == "asc" and request.after is not None:
            raise ServerError("the server failed")
        answer = real(client, request)
        # The first page of the newest end comes at once; its second one is on its way while the other end fails.
        time.sleep(0.5 if request.order == "asc" else 1.0 if request.after else 0)
        return answer

    monkeypatch.setattr(nightly, "SLOW", 0)
    monkeypatch.setattr(Client, "list", list_)
    with World(tmp_path, limit=PAGE) as world:
        for second in range(100):
            world.add(NOW - 1000 + second)
        assert world.run(**BARE).exit_code == ServerError.exit_code
        shown = {id_ for id_, _ in world.store.shown}
        assert len(shown) > 2 * PAGE
        assert held(world) == shown


@pytest.mark.slow
def test_a_stop_keeps_every_page_and_the_next_run_goes_on(world):
    """A run that is asked to stop writes what it read, loads it, and says that it is not complete."""
    stop = Stop()
    result = export(world.config(), stop=stop, observe=lambda told: told.pages >= 10 and stop.ask())
    assert (result.stopped, result.sources[0].complete) == (True, False)
    kept = len(held(world))
    assert 30 < result.sources[0].new == kept < 60
    assert "asked to stop" in result.sources[0].why_not
    assert world.run().sources[0].new == 100 - kept
    assert held(world) == world.store.visible_ids()
    prove(world.data)


# -- position -----------------------------------------------------------------------------------------------------


def test_a_run_that_finds_nothing_writes_its_coverage(world):
    """The position moves on with the server's clock although no completion came."""
    world.run(**BARE)
    world.clock.advance(DAY)
    result = world.run(**BARE)
    assert (result.exit_code, result.sources[0].new, result.sources[0].changed) == (0, 0, 0)
    assert (world.archive().footers[-1].completions, world.position()) == (0, NOW + HOUR + DAY)
    assert result.sources[0].data_through.timestamp() == NOW + HOUR + DAY


def test_an_empty_source_is_covered_too(tmp_path):
    """A list without a row is read to the end: that there is nothing is a fact with a time."""
    with World(tmp_path) as world:
        assert (world.run().exit_code, world.position()) == (0, NOW)
        prove(world.data)
        world.add(NOW - 5)
        assert world.run(**BARE).sources[0].new == 1


def test_rows_of_the_future_do_not_move_the_position(world):
    """A row dated beyond the server's own time is kept, and what comes before it later is still found."""
    world.add(NOW + 10 * DAY, 3)
    world.run(**BARE)
    assert world.position() == NOW + HOUR
    world.clock.advance(DAY)
    late = world.add(NOW + 5 * HOUR)
    assert world.run(**BARE).sources[0].new == 1
    assert set(late) < held(world) == world.store.visible_ids()


def test_a_clock_that_ran_ahead_loses_nothing(world):
    """Where the server's clock was wrong for one run, what is stored after it was set right comes all the same."""
    world.clock.advance(20 * DAY)
    world.run(**BARE)
    world.clock.advance(-20 * DAY)
    new = world.add(NOW + HOUR - 5, 7)
    assert world.run(**BARE).sources[0].new == 7
    assert set(new) < held(world) == world.store.visible_ids()


def test_a_clock_that_ran_ahead_hides_no_late_row(tmp_path):
    """What becomes visible within the overlap is found, although the position was told by a clock a day ahead."""
    with World(tmp_path, limit=PAGE, overlap=6.0 * HOUR) as world:
        for ago in range(60):
            world.add(NOW - 30_000 + ago * 400)
        world.clock.advance(DAY)
        world.run(**BARE)
        world.clock.advance(HOUR - DAY)
        late = world.add(NOW - 3 * HOUR)
        world.run(**BARE)
        assert set(late) < held(world) == world.store.visible_ids()


def test_a_limit_that_the_server_does_not_take_costs_no_whole_walk(tmp_path):
    """Refused with every anchor, it says nothing about them: they are asked again with a limit that is taken."""
    with World(tmp_path, Shape(max_limit=20), limit=50) as world:
        for ago in range(200):
            world.add(NOW - 200_000 + ago * 900)
        world.run(**BARE)
        world.clock.advance(2 * HOUR)
        world.add(int(world.clock()) - 60)
        world.run(**BARE)
        assert len(world.store.shown) < 60
        assert held(world) == world.store.visible_ids()


def test_other_filters_start_over_without_duplicates(world):
    """A changed fingerprint has no position: everything is read again, nothing is kept twice, and changing back too."""
    world.run(**BARE)
    kept = versions(world.archive())
    filtered = world.run(model="m", limit=50, **BARE)
    assert (filtered.sources[0].new, filtered.sources[0].changed, filtered.sources[0].skipped) == (0, 0, 100)
    assert filtered.sources[0].pages >= 2
    assert filtered.sources[0].largest_lateness is None
    assert world.run(**BARE).sources[0].pages <= 3  # one of them asks for the oldest
    assert versions(world.archive()) == kept


# -- what the spans claim -----------------------------------------------------------------------------------------


def test_a_retreat_claims_only_what_was_read_again(world):
    """Where all anchors vanish and the walk starts over, an interruption leaves no claim over what was not read."""
    world.run(**BARE)
    start = spans(world)[-1].end
    too_late = world.add(NOW - 950)
    new = [world.add(start + 10 + second)[0] for second in range(60)]
    world.clock.advance(HOUR)
    first = world.lists() + 1
    world.server.app.faults = [Fault("anchor-404", first + 4, times=14), Fault("500", first + 20, times=0)]
    assert world.run(**BARE).exit_code == 75
    kept = held(world)
    for span in spans(world)[-1:]:
        claimed = range(-1 if span.start is None else span.start + 1, span.end + 1)
        assert NOW - 950 not in claimed or set(too_late) <= kept
    assert set(new[:5]) <= kept


def test_a_doubt_outlives_a_cut_in_its_middle(tmp_path):
    """A second in doubt stays in doubt where a segment is cut while the walk is still at it."""
    with World(tmp_path, Shape(max_limit=10), limit=10, segment_size=1) as world:
        world.add(NOW - 100, 3)
        crowd = world.add(NOW - 50, 14)
        arrivals = iter([NOW - 10])

        def arrive(received):
            if received.query.get("order") == "desc" and (second := next(arrivals, None)):
                world.add(second)

        world.server.app.on_request = arrive
        first = world.run(**BARE)
        assert (first.exit_code, first.sources[0].complete) == (3, False)
        assert coverage.doubtful(spans(world)) == [NOW - 50]
        world.clock.advance(60)
        second = world.run(**BARE)
        assert (second.exit_code, second.sources[0].complete) == (0, False)
        assert coverage.doubtful(spans(world)) == [NOW - 50]
        assert not status(world.config())[0].complete
        for id_ in sorted(set(crowd) & world.store.visible_ids())[:6]:
            world.store.delete(id_)
        assert world.run(**BARE).sources[0].complete
        assert coverage.doubtful(spans(world)) == []


def test_a_span_is_as_old_as_its_oldest_page(tmp_path):
    """asked_at is the time of the first page that a span rests on, also where it was shown before the walk."""
    with World(tmp_path, Shape(max_limit=4), segment_size=1) as world:
        world.add(NOW - 50, 9)
        world.add(NOW - 40, 2)
        world.server.app.on_request = lambda _: world.clock.advance(1)
        world.run(**BARE)
        assert spans(world)[0].asked_at == NOW + 1
        assert all(span.end <= span.asked_at for span in spans(world))


# -- destinations -------------------------------------------------------------------------------------------------


def without_server(world, **settings):
    """Run where the server is down: what the destinations gain comes from the archive."""
    result = export(world.config(base_url="http://127.0.0.1:9/v1", **settings))
    assert result.sources[0].exit_code == 75
    return result


def test_an_archive_alone_is_a_whole_export(world):
    """Without destinations nothing but segments is written; each may be added at any later time, offline."""
    result = world.run(**BARE)
    assert (result.exit_code, result.destinations, result.published) == (0, (), False)
    assert not world.folder.parquet.exists()
    assert not world.folder.snapshot.exists()
    assert not world.folder.warehouse.exists()
    assert [done.exit_code for done in without_server(world, duckdb=False).destinations] == [0]
    prove(world.data, duckdb=False)
    assert without_server(world).published
    prove(world.data)


@pytest.mark.slow
def test_a_destination_that_was_off_catches_up(world):
    """What came while it was switched off is loaded when it is on again, changes and all, without the server."""
    world.run()
    world.store.edit(next(iter(world.store.visible_ids())), {"colour": "red"})
    world.clock.advance(HOUR)
    world.add(NOW + HOUR, 3)
    world.run(duckdb=False, overlap=float(DAY))
    prove(world.data, duckdb=False)
    without_server(world)
    prove(world.data)


@pytest.mark.slow
def test_a_lost_destination_is_built_again_from_the_archive(world):
    """Each destination, and the snapshot, may be deleted: the next run makes it anew, the server unneeded."""
    world.run()
    shutil.rmtree(world.folder.parquet)
    world.folder.warehouse.unlink()
    world.folder.snapshot.unlink()
    without_server(world)
    prove(world.data)


@pytest.mark.slow
def test_a_destination_ahead_of_its_archive_is_refused(world):
    """Where the archive lost segments, the next ones would be taken for loaded: the run says so and loads nothing."""
    world.run()
    shutil.rmtree(world.folder.archive)
    world.add(NOW)
    result = world.run(limit=100, segment_size=10**9)
    told = {done.destination: done for done in result.destinations}
    assert (result.exit_code, result.sources[0].exit_code) == (FolderError.exit_code, 0)
    assert "the archive ends with 1" in told["parquet"].error
    assert "restore the archive" in told["duckdb"].hint
    shutil.rmtree(world.folder.parquet)
    world.folder.warehouse.unlink()
    assert world.run().exit_code == 0
    prove(world.data)


@pytest.mark.slow
def test_a_source_no_longer_configured_stays_in_every_destination(world):
    """Taking a source out of the configuration takes nothing out of the archive, nor out of what is built from it."""
    world.run(**BARE)
    export(replace(world.config(), sources=()))
    prove(world.data)


# -- from both ends -----------------------------------------------------------------------------------------------


def test_a_newest_end_that_fails_leaves_the_other_walk_alone(world, monkeypatch):
    """A server that lists backwards no more is walked from the oldest on, to the end."""
    ask = Client.list

    def fail(self, request):
        if request.order == "desc" and request.after is not None:
            raise ServerError("it lists no further back")
        return ask(self, request)

    monkeypatch.setattr(Client, "list", fail)
    result = world.run(**BARE)
    assert (result.exit_code, result.sources[0].new) == (0, 100)
    assert held(world) == world.store.visible_ids()


def test_a_doubt_in_what_was_left_between_is_told(tmp_path, monkeypatch):
    """A second that cannot be shown whole, met where two walks were interrupted, ends that run with 3."""
    monkeypatch.setattr(nightly, "SLOW", 0)
    with World(tmp_path, Shape(max_limit=10), limit=10, overlap=0.0, segment_size=4_000) as world:
        for second in range(300):
            world.add(NOW - 1000 + second)
        world.add(NOW - 850, 14)
        world.clock.advance(HOUR)
        with failpoints.armed("run.page=raise:14"), pytest.raises(FailpointError):
            world.run(**BARE)
        assert world.position() < NOW - 851
        result = world.run(**BARE)
        assert (result.exit_code, coverage.doubtful(spans(world))) == (3, [NOW - 850])
        assert "possibly-incomplete" in {finding.code for finding in result.sources[0].findings}
