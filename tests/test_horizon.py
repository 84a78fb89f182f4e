"""How far back a source lists, and what follows from it."""

from __future__ import annotations

import pytest

from pipeline.horizon import DAY, Horizon, interval, longest, lost
from pipeline.usual import Past

NOW = 1_758_000_000


def past(ago, horizon=None, longest_horizon=None):
    """Make the record of a run that read up to ``ago`` days ago."""
    return Past((NOW - ago * DAY) * 1_000_000, 0, horizon, longest_horizon)


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
    oldest = NOW - 30 * DAY
    assert lost(NOW - 40 * DAY, None, oldest) == (NOW - 40 * DAY, oldest)
    assert lost(NOW - 40 * DAY, NOW - 41 * DAY, oldest) is None
    assert lost(NOW - 20 * DAY, None, oldest) is None
    assert lost(NOW - 40 * DAY, None, None) is None
    assert lost(None, None, oldest) is None


def test_the_longest_horizon_of_all_runs_counts():
    """How old something listed ever was is carried from record to record; records without it are looked through."""
    assert longest([past(0, horizon=5), past(1, horizon=9), past(2)]) == 9
    assert longest([past(0), past(1, horizon=3, longest_horizon=9), past(2, horizon=10)]) == 9
    assert longest([past(0, horizon=5), *(past(ago, horizon=1) for ago in range(1, 50)), past(60, horizon=9)]) == 9
    assert longest([past(0)]) is None


@pytest.mark.parametrize(("age", "reached", "is_as_ever"), [(30, None, True), (16, 30, True), (1, 30, False)])
def test_a_list_that_shrank_is_not_as_ever(age, reached, is_as_ever):
    """A list that reaches back less than half as far as it did, or shows nothing, tells nothing of age."""
    there = None if reached is None else reached * DAY
    assert Horizon(NOW, NOW - age * DAY, is_known=True, longest=there).is_as_ever == is_as_ever
    assert not Horizon(NOW, None, is_known=True, longest=there).is_as_ever
