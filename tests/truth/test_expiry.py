"""The expiry guard: what may be lost unseen is told in time, and to the second when it is too late."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import duckdb
import pytest

from pipeline import console, failpoints
from pipeline.failpoints import FailpointError
from pipeline.sandbox.faults import Fault
from pipeline.status import status
from pipeline.verify import verify

from .test_sweep import MONTH, expire
from .world import DAY, HOUR, NOW, World

FRESHNESS = "SELECT horizon, is_horizon_known, safety, epoch(lost_from), epoch(lost_to) FROM freshness"


@pytest.fixture
def world(tmp_path):
    """Serve completions of a month, one a day, to a source that was exported once."""
    with World(tmp_path, sweep_every=1e9) as one:
        one.ids = [one.add(NOW - age)[0] for age in range(30 * DAY, 0, -DAY)]
        one.run(parquet=False)
        yield one


def told_everywhere(world, result):
    """Return what status, summary, JSON result and view say of the only source."""
    now = datetime.fromtimestamp(world.clock(), UTC)
    (shown,) = status(world.config(), now=now)
    summary = console.summary(result, world.folder.snapshot)
    as_json = json.loads(json.dumps(result.as_dict(), default=str))["sources"][0]
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        (row,) = connection.execute(FRESHNESS).fetchall()
    return shown, summary, as_json, row


@pytest.mark.slow
def test_the_time_left_is_told_everywhere(world):
    """Horizon and hours of safety are the same in status, summary, JSON result and the view freshness."""
    world.clock.advance(5 * DAY)
    expire(world, MONTH)
    world.add(int(world.clock()) - HOUR)
    result = world.run(parquet=False)
    shown, summary, as_json, row = told_everywhere(world, result)
    oldest = min(json.loads(body)["created"] for body in world.store.bodies().values())
    horizon = int(world.clock()) - oldest
    left = horizon - 5 * DAY  # the last two runs lay five days apart
    assert result.exit_code == 0
    assert (as_json["horizon"], as_json["is_horizon_known"], as_json["safety"]) == (horizon, True, left)
    assert row == (horizon, True, left, None, None)
    assert (shown.horizon_seconds, shown.is_horizon_known, shown.safety_seconds) == (horizon, True, horizon)
    assert f"lists {horizon // DAY} d back" in summary
    assert not shown.is_older_than(26 * HOUR)


@pytest.mark.slow
def test_a_gap_older_than_the_horizon_is_named_to_the_second(world):
    """After an outage longer than the horizon the span that may be lost is told everywhere, once with exit code 3."""
    position = int(world.clock())
    world.clock.advance(40 * DAY)
    world.store.lost.clear()
    expire(world, 0)
    (oldest,) = world.add(int(world.clock()) - 29 * DAY)
    world.add(int(world.clock()) - HOUR)
    began = json.loads(world.store.bodies()[oldest])["created"]
    result = world.run(parquet=False)
    shown, summary, as_json, row = told_everywhere(world, result)
    span = tuple(datetime.fromtimestamp(second, UTC) for second in (position, began))
    assert (result.exit_code, result.sources[0].lost) == (3, span)
    assert "may-be-lost" in {finding["code"] for finding in as_json["findings"]}
    assert all(moment.strftime("%Y-%m-%dT%H:%M:%SZ") in summary for moment in span)
    assert row[3:] == (position, began)
    assert shown.may_be_lost == " to ".join(moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in span)
    world.clock.advance(HOUR)
    assert world.run(parquet=False).exit_code == 0
    (later,) = status(world.config(), now=datetime.fromtimestamp(world.clock(), UTC))
    assert later.may_be_lost == shown.may_be_lost
    with duckdb.connect(world.folder.snapshot, read_only=True) as connection:
        (row,) = connection.execute(FRESHNESS).fetchall()
    assert row[3:] == (position, began)
    (proof,) = verify(world.config(parquet=False), against_api=True).proofs
    assert (proof.may_be_lost, proof.unexplained) == (((position, began),), 0)


@pytest.mark.parametrize("ends", ["fails", "is killed"])
@pytest.mark.slow
def test_a_loss_is_told_by_the_run_that_passes_it(world, ends):
    """The run that moves the position beyond a span that may be lost leaves it on record, however it ends."""
    position = int(world.clock())
    world.clock.advance(60 * DAY)
    expire(world, 0)
    for age in range(30 * DAY, 0, -12 * HOUR):
        world.add(int(world.clock()) - age)
    began = int(world.clock()) - 30 * DAY
    if ends == "fails":
        world.server.app.faults = [Fault("500", at=world.lists() + 10, times=0)]
        (source,) = world.run(parquet=False, segment_size=500).sources
        lost = tuple(datetime.fromtimestamp(second, UTC) for second in (position, began))
        assert (source.exit_code, source.lost, source.complete) == (3, lost, False)
        world.server.app.faults = []
    else:
        with failpoints.armed("run.page=raise:10"), pytest.raises(FailpointError):
            world.run(parquet=False, segment_size=500)
    assert world.position() > position
    result = world.run(parquet=False)
    assert (result.exit_code, result.sources[0].lost) == (0, None)
    (shown,) = status(world.config(), now=datetime.fromtimestamp(world.clock(), UTC))
    span = [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in (position, began)]
    assert shown.may_be_lost == " to ".join(span)
    assert shown.complete
    assert not shown.is_older_than(DAY)  # a loss is history: no run can mend it


@pytest.mark.slow
def test_no_time_left_is_an_alarm(world):
    """Where the source lists no further back than the data are old, status --max-age fails however much it allows."""
    world.clock.advance(2 * DAY)
    expire(world, 3 * DAY)
    world.add(int(world.clock()) - HOUR)
    world.run(parquet=False)
    (fine,) = status(world.config(), now=datetime.fromtimestamp(world.clock(), UTC))
    assert not fine.is_older_than(365 * DAY)
    (late,) = status(world.config(), now=datetime.fromtimestamp(world.clock() + 4 * DAY, UTC))
    assert late.safety_seconds < 0
    assert late.is_older_than(365 * DAY)


@pytest.mark.slow
def test_a_source_that_forgets_faster_than_it_was_exported(world):
    """A list that reaches back less than the longest time between two recent runs is a finding, before any loss."""
    world.clock.advance(10 * DAY)
    world.add(int(world.clock()) - 2 * DAY)
    assert world.run(parquet=False).sources[0].safety == 30 * DAY
    world.clock.advance(DAY)
    expire(world, 5 * DAY)
    result = world.run(parquet=False)
    (finding,) = result.sources[0].findings
    assert (result.exit_code, finding.code, result.sources[0].safety) == (0, "expiry", 3 * DAY - 10 * DAY)
