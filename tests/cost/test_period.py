"""Days and months are those of a zone's calendar, in Python and in SQL alike."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cost.period import Period, day_expression, day_of, month_of, projected, read_month, zone
from pipeline.errors import UsageError

#: Zones whose clocks change at midnight, by half an hour, the other way round, beyond a day, or never.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kolkata",
    "Asia/Beirut",
)
MOMENTS = st.datetimes(dt.datetime(2008, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
DAYS = st.dates(dt.date(2008, 1, 1), dt.date(2030, 1, 1))


@pytest.fixture(scope="module")
def db():
    """Hold a table with one completion's moment."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        connection.execute("CREATE TABLE one (created TIMESTAMPTZ, created_date DATE)")
        yield connection


def ask(db, moment, sql):
    """Answer about one moment."""
    db.execute("DELETE FROM one")
    db.execute("INSERT INTO one VALUES (?, ?)", [moment, moment.date()])
    return db.execute(sql).fetchall()[0][0]


@given(moment=MOMENTS, tz=st.sampled_from(ZONES))
def test_sql_and_python_agree_on_the_day(db, moment, tz):
    """A completion is of the day that a clock of the zone showed, whatever zone the reader's connection is in."""
    assert ask(db, moment, f"SELECT {day_expression(tz)} FROM one") == day_of(moment, tz)


@given(moment=MOMENTS, tz=st.sampled_from(ZONES), before=st.integers(0, 40), days=st.integers(1, 40))
def test_a_period_holds_its_days(db, moment, tz, before, days):
    """The condition in SQL is true for the moments of the period's days and for no other."""
    since = day_of(moment, tz) - dt.timedelta(days=before)
    period = Period(since, since + dt.timedelta(days=days), tz)
    assert ask(db, moment, f"SELECT count(*) FROM one WHERE {period.condition()}") == (before < days)
    assert (period.begin <= moment < period.end) == (before < days)


@given(since=DAYS, days=st.integers(1, 5000), place=st.integers(0), tz=st.sampled_from(ZONES))
def test_steps_are_those_of_date_trunc(db, since, days, place, tz):
    """Every day of a period lies in one of its steps, the one that SQL names."""
    period = Period(since, since + dt.timedelta(days=days), tz)
    day = since + dt.timedelta(days=place % days)
    noon = dt.datetime.combine(day, dt.time(12), ZoneInfo(tz)).astimezone(dt.UTC)
    step = ask(db, noon, f"SELECT {period.step_expression()} FROM one")
    steps = period.steps()
    assert max(one for one in steps if one <= day) == step
    assert len(steps) <= 400
    assert list(steps) == sorted(set(steps))


@given(since=DAYS, months=st.integers(1, 30))
def test_whole_months_follow_whole_months(since, months):
    """The period before some calendar months is as many calendar months, and ends where they begin."""
    period = month_of(since)
    for _ in range(months - 1):
        period = Period(period.since, month_of(period.until).until)
    assert period.months == period.previous().months == months
    assert period.previous().until == period.since


def test_other_periods_follow_as_many_days():
    """The period before some days is as many days."""
    assert Period(dt.date(2026, 10, 3), dt.date(2026, 10, 5)).previous() == Period(
        dt.date(2026, 10, 1), dt.date(2026, 10, 3)
    )


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-10-01", "2026-11-01", "October 2026"),
        ("2026-10-14", "2026-10-15", "14 October 2026"),
        ("2026-10-03", "2026-10-10", "3 to 9 October 2026"),
        ("2026-09-28", "2026-10-02", "28 September to 1 October 2026"),
        ("2025-12-31", "2026-01-02", "31 December 2025 to 1 January 2026"),
    ],
)
def test_periods_are_said_as_people_do(since, until, said):
    """Nothing is said twice."""
    assert str(Period(dt.date.fromisoformat(since), dt.date.fromisoformat(until))) == said


@pytest.mark.parametrize(
    ("since", "until", "period"),
    [
        (None, None, ("2026-10-01", "2026-11-01")),
        ("2026-09-03", None, ("2026-09-03", "2026-10-20")),
        ("2026-12-24", None, ("2026-12-24", "2026-12-25")),
        (None, "2026-09-03", ("2026-09-01", "2026-09-03")),
        (None, "2026-09-01", ("2026-08-01", "2026-09-01")),
    ],
)
def test_what_is_not_told_of_a_period(since, until, period):
    """Without ends it is the month of the newest data, with one it goes as far as these."""
    ends = [dt.date.fromisoformat(day) if day else None for day in (since, until)]
    told = Period.of(*ends, "UTC", dt.datetime(2026, 10, 19, 5, tzinfo=dt.UTC))
    assert (told.since.isoformat(), told.until.isoformat()) == period


def test_a_month_is_as_long_as_it_was():
    """A change of clocks makes a month an hour shorter or longer."""
    hours = [(read_month(f"2026-{month:02}", "Europe/Berlin")) for month in (3, 10)]
    assert [(one.end - one.begin) / dt.timedelta(hours=1) for one in hours] == [31 * 24 - 1, 31 * 24 + 1]


def test_days_that_are_over():
    """A day is over when a clock of the zone says so."""
    period = read_month("2026-10", "Asia/Tokyo")
    assert period.complete_days(dt.datetime(2026, 10, 1, 14, 59, tzinfo=dt.UTC)) == 0
    assert period.complete_days(dt.datetime(2026, 10, 1, 15, tzinfo=dt.UTC)) == 1
    assert period.complete_days(dt.datetime(2026, 9, 1, tzinfo=dt.UTC)) == 0
    assert period.complete_days(dt.datetime(2027, 9, 1, tzinfo=dt.UTC)) == 31
    assert period.first_days(40) == period


def test_projection():
    """The cost so far goes on at the same rate; what is no month, over or not begun is not projected."""
    month = read_month("2026-11")
    assert projected(Decimal(10), month, month.begin + dt.timedelta(days=10)) == 30
    assert projected(Decimal(10), month, month.begin) is None
    assert projected(Decimal(10), month, month.end) is None
    assert projected(None, month, month.begin + dt.timedelta(days=10)) is None
    assert projected(Decimal(10), month, None) is None
    assert projected(Decimal(10), month.first_days(7), month.begin + dt.timedelta(days=1)) is None


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "UTC'; DROP TABLE x", "\x00"])
def test_what_is_no_zone(name):
    """A name that is no time zone is refused before it reaches SQL."""
    with pytest.raises(UsageError):
        zone(name)


@pytest.mark.parametrize(
    "text",
    [
        "2026",
        "2026-1",
        "2026-13",
        "2026-00",
        "0001-01",
        "9999-12",
        "\u0662\u0660\u0662\u0666-\u0660\u0661",
        "2026-10-01",
        "",
    ],
)
def test_what_is_no_month(text):
    """A text that is no month, or is beyond the calendar, is refused."""
    with pytest.raises(UsageError):
        read_month(text)


def test_periods_that_cannot_be():
    """Ends in the wrong order and what has nothing before it are refused."""
    day = dt.date(2026, 10, 1)
    for since, until in ((day, day), (day, dt.date(2026, 9, 1)), (dt.date.min, day), (day, dt.date.max)):
        with pytest.raises(UsageError):
            Period(since, until)
    with pytest.raises(UsageError):
        Period(dt.date(2, 1, 2), dt.date(9000, 1, 1)).previous()
