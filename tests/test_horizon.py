"""How far back a source lists, and what follows from it."""

from __future__ import annotations

import pytest

from pipeline.horizon import DAY, Horizon, interval, longest
from pipeline.usual import Past

NOW = 1_758_000_000


def past(ago, horizon=None):
    """Make the record of a run that read up to ``ago`` days ago."""
    return Past(data_through=(NOW - ago * DAY) * 1_000_000, new=0, horizon=horizon)


@pytest.mark.parametrize(
    ("age", "oldest", "reached", "reason"),
    [
        (31 * DAY, 30 * DAY, None, "expired"),
        (29 * DAY, 30 * DAY, None, "deleted"),
        (31 * DAY, 1 * DAY, 30 * DAY, "expired"),
        (29 * DAY, 1 * DAY, 30 * DAY, "deleted"),
        (5 * DAY, None, None, "deleted"),
        (31 * DAY, None, 30 * DAY, "expired"),
    ],
)
def test_age_alone_explains_only_what_is_as_old_as_anything_ever_listed(age, oldest, reached, reason):
    """Expired is what is older than all that is listed and as old as anything that ever was; else it was deleted."""
    horizon = Horizon(NOW, None if oldest is None else NOW - oldest, is_known=True, longest=reached)
    assert horizon.reason(NOW - age) == reason
    assert horizon.reason(None) == "deleted"


def test_safety_is_what_the_next_run_may_be_late():
    """Horizon less the longest time between two runs; a day until there were two runs."""
    horizon = Horizon(NOW, NOW - 30 * DAY, is_known=True)
    assert horizon.safety(interval([], NOW)) == 29 * DAY
    assert horizon.safety(interval([past(1), past(2), past(5)], NOW)) == 27 * DAY
    assert horizon.safety(interval([past(7), past(8)], NOW)) == 23 * DAY
    assert Horizon(NOW, None, is_known=False).safety(DAY) is None


def test_what_may_be_lost_is_between_what_was_read_and_what_is_listed():
    """Only where nothing held is listed any more may something have come and gone unseen."""
    horizon = Horizon(NOW, NOW - 30 * DAY, is_known=True)
    assert horizon.lost(NOW - 40 * DAY, None) == (NOW - 40 * DAY, NOW - 30 * DAY)
    assert horizon.lost(NOW - 40 * DAY, NOW - 41 * DAY) is None
    assert horizon.lost(NOW - 20 * DAY, None) is None
    assert horizon.lost(None, None) is None


def test_the_longest_horizon_of_recent_runs_counts():
    """How old something listed ever was is remembered from run to run."""
    assert longest([past(0, horizon=5), past(1, horizon=9), past(2)]) == 9
    assert longest([past(0)]) is None
