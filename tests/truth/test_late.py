"""Completions that become visible late: within the overlap they come home, and how late they were is told."""

import pytest

from .world import HOUR, NOW, World, versions

BARE = {"parquet": False, "duckdb": False}


@pytest.mark.parametrize(
    ("hours", "told"),
    [(1, set()), (3, {"lateness"}), pytest.param(2.5, {"lateness"}, marks=pytest.mark.slow)],
)
def test_a_late_completion_comes_home(tmp_path, hours, told):
    """A row not shown when its second was read is found by the next run; beyond half the overlap it is told."""
    with World(tmp_path, overlap=4.0 * HOUR) as world:
        for second in range(100):
            world.add(NOW - 6 * HOUR + 200 * second)
        (late,) = world.add(NOW - int(hours * HOUR), visible_at=NOW + 1)
        assert world.run(**BARE).sources[0].new == 100
        world.clock.advance(60)
        result = world.run(**BARE)
        assert late in versions(world.archive())
        assert (result.exit_code, result.sources[0].new) == (0, 1)
        assert result.sources[0].largest_lateness == hours * HOUR
        assert {finding.code for finding in result.sources[0].findings} & {"lateness"} == told
