"""Periods of whole days in a time zone: where days and months begin, what came before, and how SQL asks for it; pure.

A day is a day of the zone's own calendar: the day a clock there showed, whether it had 23, 24 or 25 hours.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from pipeline.errors import UsageError

UTC = "UTC"
#: Zones that are what the machine says, or that count leap seconds: DuckDB knows none of them.
_OF_THE_MACHINE = ("localtime", "posix", "right")
_DAY = dt.timedelta(days=1)
_MONTHS = 12
#: A year is left at either end, so that a day, a zone or a month more is still a date.
_FIRST, _LAST = dt.date(2, 1, 1), dt.date(9998, 12, 31)
#: By step of a chart: the most days that are told by it; as many bars as a reader can tell apart.
_MOST_DAYS = {"day": 92, "week": 400, "month": 3_660}
_WEEK = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, one after the other."""

    since: dt.date
    """The first day."""
    until: dt.date
    """The day after the last one."""
    tz: str = UTC
    """The zone whose days they are."""

    def __post_init__(self) -> None:
        if self.since >= self.until:
            hint = "let it end after it begins; the day named as its end is not part of it"
            raise UsageError(f"no day lies between {self.since} and {self.until}", hint=hint)
        if not _FIRST <= self.since < self.until <= _LAST:
            raise UsageError(f"{self.since} to {self.until} is beyond the calendar", hint="ask for fewer days")

    @classmethod
    def of(cls, since: dt.date | None, until: dt.date | None, tz: str, newest: dt.datetime) -> Period:
        """Return the days asked for: with no ends the month of the newest data, with one as far as that goes."""
        today = day_of(newest, tz)
        if since is None:
            since = (today if until is None else until - _DAY).replace(day=1)
            until = until or month_of(today, tz).until
        return cls(since, until or max(today, since) + _DAY, tz)

    @property
    def days(self) -> int:
        """Return how many days there are."""
        return (self.until - self.since).days

    @property
    def last(self) -> dt.date:
        """Return the last day."""
        return self.until - _DAY

    @property
    def begin(self) -> dt.datetime:
        """Return the moment of its first midnight."""
        return _midnight(self.since, self.tz)

    @property
    def end(self) -> dt.datetime:
        """Return the moment of the midnight after its last day."""
        return _midnight(self.until, self.tz)

    @property
    def is_month(self) -> bool:
        """Tell whether it is one calendar month."""
        return self.months == 1

    @property
    def months(self) -> int:
        """Return how many calendar months there are; 0 where it is not made of whole ones."""
        if self.since.day != 1 or self.until.day != 1:
            return 0
        return _MONTHS * (self.until.year - self.since.year) + self.until.month - self.since.month

    def previous(self) -> Period:
        """Return as much before it: as many months where it is made of whole ones, else as many days."""
        months, span = self.months, self.until - self.since
        if span >= self.since - _FIRST:
            raise UsageError(f"no {self.days:,} days come before {self.since}", hint="ask for fewer days")
        return Period(_months_before(self.since, months) if months else self.since - span, self.since, self.tz)

    def complete_days(self, through: dt.datetime) -> int:
        """Return how many of the days were over by then."""
        today = day_of(through, self.tz)
        return min(max((today - self.since).days, 0), self.days)

    def first_days(self, number: int) -> Period:
        """Return its first days, at most all of them."""
        return Period(self.since, self.since + _DAY * min(number, self.days), self.tz)

    @property
    def step(self) -> str:
        """Return what a chart of it goes by, so that it stays readable: day, week, month or year."""
        return next((step for step, most in _MOST_DAYS.items() if self.days <= most), "year")

    def steps(self) -> tuple[dt.date, ...]:
        """Return the first day of each step; the first may lie before the period."""
        day = _step_of(self.since, self.step)
        found = [day]
        while (day := _next(day, self.step)) < self.until:
            found.append(day)
        return tuple(found)

    def step_expression(self) -> str:
        """Return the SQL for the first day of the step that a completion is of."""
        return self.expression() if self.step == "day" else f"date_trunc('{self.step}', {self.expression()})::DATE"

    def expression(self) -> str:
        """Return the SQL for the day of a completion: of the columns ``created`` and ``created_date``."""
        return day_expression(self.tz)

    def condition(self) -> str:
        """Return the SQL that is true for its completions; bounded by days of UTC too, which DuckDB skips by."""
        if self.tz == UTC:
            return f"created_date >= DATE '{self.since}' AND created_date < DATE '{self.until}'"
        day = self.expression()
        return (
            f"created_date BETWEEN DATE '{self.since - _DAY}' AND DATE '{self.until}' "
            f"AND {day} >= DATE '{self.since}' AND {day} < DATE '{self.until}'"
        )

    def __str__(self) -> str:
        """Say it as people do: October 2026, 14 October 2026, 3 to 9 October 2026."""
        if self.is_month:
            return f"{calendar.month_name[self.since.month]} {self.since.year}"
        if self.days == 1:
            return said(self.since)
        return f"{_beginning(self.since, self.last)} to {said(self.last)}"


def projected(cost: Decimal | None, period: Period, through: dt.datetime | None) -> Decimal | None:
    """Return what a running month comes to at the rate so far; None where it is no month, over, or not begun."""
    if cost is None or through is None or not period.is_month:
        return None
    begin, end = period.begin, period.end
    if not begin < through < end:
        return None
    return cost * Decimal((end - begin).total_seconds()) / Decimal((through - begin).total_seconds())


def day_expression(tz: str) -> str:
    """Return the SQL for the day of a completion in a zone."""
    return "created_date" if tz == UTC else f"(created AT TIME ZONE '{zone(tz).key}')::DATE"


def month_of(day: dt.date, tz: str = UTC) -> Period:
    """Return the calendar month that holds a day."""
    first = day.replace(day=1)
    return Period(first, _months_before(first, -1) if first.year < dt.MAXYEAR else first, tz)


def read_month(text: str, tz: str = UTC) -> Period:
    """Read a month such as 2026-10."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text, re.ASCII):
            return month_of(dt.date.fromisoformat(f"{text}-01"), tz)
    except ValueError:
        pass  # told below, like any other text that is no month
    raise UsageError(f"{text} is not a month", hint="write it like 2026-10")


def zone(name: str) -> ZoneInfo:
    """Return the time zone of that name."""
    try:
        return ZoneInfo("" if name.startswith(_OF_THE_MACHINE) else name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"{name} is not a time zone", hint="write it like Europe/Berlin, or UTC") from error


def day_of(moment: dt.datetime, tz: str = UTC) -> dt.date:
    """Return the day that a clock of the zone showed at a moment."""
    return moment.astimezone(dt.UTC if tz == UTC else zone(tz)).date()


def _step_of(day: dt.date, step: str) -> dt.date:
    """Return the first day of the step that holds a day, as date_trunc does."""
    if step == "week":
        return day - _DAY * day.weekday()
    if step == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if step == "year" else day


def _next(day: dt.date, step: str) -> dt.date:
    """Return the first day of the next step."""
    if step in {"day", "week"}:
        return day + (_WEEK if step == "week" else _DAY)
    return _months_before(day, -1 if step == "month" else -_MONTHS)


def _midnight(day: dt.date, tz: str) -> dt.datetime:
    """Return a moment in UTC: what is between two of them is time that passed, whatever clocks did."""
    return dt.datetime.combine(day, dt.time(), dt.UTC if tz == UTC else zone(tz)).astimezone(dt.UTC)


def _months_before(first: dt.date, months: int) -> dt.date:
    year, month = divmod(_MONTHS * first.year + first.month - 1 - months, _MONTHS)
    return dt.date(year, month + 1, 1)


def said(day: dt.date) -> str:
    """Say a day as people do."""
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def _beginning(first: dt.date, last: dt.date) -> str:
    """Say the first day of two, without what the last one says anyway."""
    if first.year != last.year:
        return said(first)
    return str(first.day) if first.month == last.month else f"{first.day} {calendar.month_name[first.month]}"
