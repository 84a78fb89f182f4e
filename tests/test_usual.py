"""When a run found far less than usual: judged by the former runs' rates, and only where those are a habit."""

import pytest

from pipeline.usual import LEAST_EXPECTED, LEAST_RATES, Past, expected, is_unusual

DAY = 86_400_000_000


def nights(*new):
    """Return a history, newest first, of runs a day apart that brought so many."""
    return [Past(DAY * (len(new) - age), count) for age, count in enumerate(new)]


def test_the_usual_number_grows_with_the_time_since_the_last_run():
    """A day brings a day's worth, half a day half of it, no time nothing."""
    history = nights(100, 100, 100, 100)
    last = history[0].data_through
    assert [expected(history, last + DAY * part // 2) for part in (2, 1, 0)] == [100, 50, 0]


def test_the_first_export_is_no_habit():
    """Years that came in one run say nothing about a night."""
    history = nights(100, 110, 90, 1_000_000)
    assert expected(history, history[0].data_through + DAY) == 100


def test_too_few_runs_are_no_habit():
    """One run more than the fewest rates is needed, for a rate lies between two runs."""
    assert expected([], DAY) is None
    assert expected(nights(*[100] * LEAST_RATES), 9 * DAY) is None
    assert expected(nights(*[100] * (LEAST_RATES + 1)), 9 * DAY) is not None


def test_runs_that_reached_no_further_have_no_rate():
    """A run that got nowhere, or was started twice within the same second, is left out."""
    history = nights(100, 100, 100, 100)
    disturbed = [history[0], history[0], Past(None, 7), *history[1:]]
    assert expected(disturbed, 5 * DAY) == expected(history, 5 * DAY) == 100


def test_one_odd_night_does_not_move_the_habit():
    """The median is what is usual."""
    assert expected(nights(100, 9000, 100, 0, 100, 100), 7 * DAY) == 100


@pytest.mark.parametrize(
    ("new", "usual", "is_news"),
    [(0, None, False), (0, 1000.0, True), (99, 1000.0, True), (100, 1000.0, False), (0, LEAST_EXPECTED - 1.0, False)],
)
def test_what_is_news(new, usual, is_news):
    """Below a tenth of the usual number, where that is more than chance."""
    assert is_unusual(new, usual) is is_news
