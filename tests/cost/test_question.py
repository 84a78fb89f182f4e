"""Whatever cost is asked by, it adds up to the same, to the last decimal."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cost.period import Period
from pipeline.cost.question import DIMENSIONS, OTHER, Question, check, rows
from pipeline.cost.settings import Cost, Discount
from pipeline.errors import UsageError

from .warehouse import completion, warehouse

MODELS = ("gpt-4.1-2025-04-14", "gpt-5.5", "o3", "gpt-audio", "ft:gpt-4o-2024-08-06:a:b", "unknown", "</script>", None)
TIERS = (None, "default", "flex", "priority", "scale")
KEYS = ("team", "it's", 'a "quoted" key', "-- ; DROP TABLE completions", "\N{RIGHT-TO-LEFT OVERRIDE}key")
FIRST, LAST = dt.date(2026, 9, 1), dt.date(2026, 11, 1)
COST = Cost(batch={"team": "night"}, discounts=(Discount(Decimal("7.5"), model="gpt-5"),))


def some(count, seed=0):
    """Make completions of two months that differ in everything that cost may be asked by."""
    rng = random.Random(seed)
    for number in range(count):
        prompt = rng.choice([0, 1, 999, 272_000, 272_001, None])
        yield completion(
            number,
            at=dt.datetime(2026, 9, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=rng.randrange(61 * 86_400)),
            source=rng.choice(["prod", "test"]),
            model=rng.choice(MODELS),
            service_tier=rng.choice(TIERS),
            prompt_tokens=prompt,
            completion_tokens=rng.choice([0, 7, 12_345]),
            prompt_cached_tokens=rng.choice([None, 0, 1, 500]),
            prompt_audio_tokens=rng.choice([None, None, 3]),
            metadata=[(key, rng.choice(["a", "b", "night"])) for key in KEYS if rng.random() < 0.5],
        )


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """Hold some thousand completions."""
    with warehouse(tmp_path_factory.mktemp("cost") / "w.duckdb", some(4000), COST) as connection:
        yield connection


def ask(db, question):
    """Return the rows of an answer by column."""
    cursor = db.execute(rows(question))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def total(rows_):
    """Add up what can be added."""
    names = (
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "unpriced_requests",
        "unpriced_tokens",
        "cost",
        "cost_min",
    )
    return {name: sum((row[name] or 0 for row in rows_), Decimal(0)) for name in names}


def period(since, days, tz):
    return Period(since, since + dt.timedelta(days=days), tz)


PERIODS = st.builds(
    period,
    st.dates(FIRST, dt.date(2026, 10, 15)),
    st.integers(1, 20),
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns"]),
)
ANYTHING = st.lists(st.sampled_from([*DIMENSIONS, *(f"metadata:{key}" for key in KEYS)]), unique=True, max_size=3)


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples // 4)
@given(asked=st.builds(Question, ANYTHING.map(tuple), PERIODS, st.none() | st.integers(1, 9)))
def test_any_grouping_adds_up_to_the_total(db, asked):
    """Rows of any grouping, folded or not, in any zone, add up to the total of the same days, to the last decimal."""
    (whole,) = ask(db, replace(asked, by=(), top=None))
    told = ask(db, asked)
    assert total(told) == total([whole])
    assert asked.top is None or len(told) <= asked.top + 1


@pytest.mark.parametrize(
    "key",
    ["model", "source", "service_tier", "unpriced_because", "created_date", "is_batch", "step", "cached", "traits"],
)
def test_a_key_named_like_what_decides_on_prices(tmp_path, key):
    """What stands in the metadata changes no price, whatever the key is called."""
    rows_ = [completion(number, prompt_tokens=1000, metadata=[(key, "gpt-5.5")] * (number % 2)) for number in range(4)]
    with warehouse(tmp_path / "w.duckdb", rows_, COST) as db:
        asked = Question((f"metadata:{key}",), Period(FIRST, dt.date(2027, 1, 1), "UTC"), cost=COST)
        (whole,) = ask(db, replace(asked, by=()))
        told = ask(db, asked)
    assert total(told) == total([whole])
    assert whole["cost"] > 0
    assert {row[key] for row in told} == {"gpt-5.5", "(none)"}
    assert len({row["cost"] for row in told}) == 1


def test_the_views_add_up_to_the_same(db):
    """What cost_daily and cost_by_metadata show adds up to what was priced, to the last decimal."""
    ((cost, least),) = db.execute("SELECT sum(cost), sum(cost_min) FROM cost_by_completion").fetchall()
    assert db.execute("SELECT sum(cost), sum(cost_min) FROM cost_daily").fetchall() == [(cost, least)]
    by_key = db.execute(
        "SELECT key, sum(cost), sum(cost_min), sum(requests) FROM cost_by_metadata GROUP BY key"
    ).fetchall()
    assert {row[0] for row in by_key} == {*KEYS}
    assert {row[1:] for row in by_key} == {(cost, least, 4000)}
    shares = db.execute("SELECT sum(share_of_requests) FROM cost_by_metadata GROUP BY month, source, key").fetchall()
    assert all(abs(share - 1) < 1e-9 for (share,) in shares)


def test_tokens_of_all_classes_are_those_of_usage(db):
    """No token is counted in two classes: priced tokens of all classes add up to prompt and completion tokens."""
    (row,) = db.execute("""
        SELECT sum(input_tokens + cached_input_tokens + cache_write_tokens + audio_input_tokens), sum(prompt_tokens),
            sum(output_tokens + audio_output_tokens), sum(completion_tokens)
        FROM cost_by_completion WHERE unpriced_because IS NULL
    """).fetchall()
    assert (row[0], row[2]) == (row[1], row[3])
    assert row[0] > 0


def test_least_is_never_more_than_most(db):
    """The bounds are in order, and are one where the cached share is told."""
    wrong = "cost_min > cost OR cost_min < 0 OR (NOT is_cached_share_unknown AND cost_min <> cost)"
    assert db.execute(f"SELECT count(*) FROM cost_by_completion WHERE {wrong}").fetchall() == [(0,)]
    assert db.execute("SELECT count(*) FROM cost_by_completion WHERE cost_min < cost").fetchall()[0][0] > 100


def test_what_is_unpriced_says_why_and_costs_nothing_known(db):
    """An unpriced completion has no cost, and is counted by requests and tokens."""
    told = dict(db.execute("SELECT unpriced_because, count(cost) FROM cost_by_completion GROUP BY ALL").fetchall())
    assert {*told} == {None, "no usage", "usage inconsistent", "no model", "no price", "no rate for audio"}
    assert {why: count for why, count in told.items() if count} == {None: told[None]}
    (whole,) = ask(db, Question((), Period(FIRST, LAST)))
    assert whole["unpriced_requests"] == 4000 - told[None]
    assert whole["unpriced_tokens"] > 0


def test_the_rest_is_one_group(db):
    """Beyond --top the rest is told as (other), last."""
    told = ask(db, Question(("model",), Period(FIRST, LAST), 3))
    assert len(told) == 4
    assert told[-1]["model"] == OTHER
    costs = [row["cost"] or 0 for row in told[:-1]]
    assert costs == sorted(costs, reverse=True)


def test_the_period_before_stands_beside(db):
    """Each group is told what it cost in the period before, also one that is not there any more."""
    told = {row["model"]: row for row in ask(db, Question(("model",), Period(dt.date(2026, 10, 1), LAST)))}
    (before,) = ask(db, Question((), Period(FIRST, dt.date(2026, 10, 1))))
    assert sum(row["previous_cost"] or 0 for row in told.values()) == before["cost"]
    with_gap = ask(db, Question(("model",), Period(LAST, dt.date(2026, 12, 1))))
    assert {row["requests"] for row in with_gap} == {0}
    assert sum(row["previous_cost"] or 0 for row in with_gap) == sum(row["cost"] or 0 for row in told.values())


SPRING, AUTUMN = dt.date(2026, 3, 29), dt.date(2026, 10, 25)


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25), (dt.date(2026, 6, 1), 24)])
def test_a_day_has_the_hours_of_its_zone(tmp_path, day, hours):
    """A day of Berlin has 23 hours in spring and 25 in autumn; its completions are counted once, none is lost."""
    begin = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) - dt.timedelta(days=1)
    every = [completion(hour, at=begin + dt.timedelta(hours=hour, minutes=30)) for hour in range(72)]
    with warehouse(tmp_path / "w.duckdb", every) as db:
        told = ask(db, Question(("day",), Period(day, day + dt.timedelta(days=1), "Europe/Berlin")))
        assert [(row["day"], row["requests"]) for row in told] == [(day, hours)]
        around = Period(day - dt.timedelta(days=2), day + dt.timedelta(days=3), "Europe/Berlin")
        assert sum(row["requests"] for row in ask(db, Question(("day",), around))) == 72


def test_weeks_and_months_begin_where_their_zone_does(tmp_path):
    """A completion of 23:30 UTC on the last of a month is of the next month, and week, in Berlin."""
    late = completion(1, at=dt.datetime(2026, 5, 31, 23, 30, tzinfo=dt.UTC))
    with warehouse(tmp_path / "w.duckdb", [late]) as db:
        for tz, month, week in (("UTC", 5, dt.date(2026, 5, 25)), ("Europe/Berlin", 6, dt.date(2026, 6, 1))):
            whole = Period(dt.date(2026, 5, 1), dt.date(2026, 7, 1), tz)
            (row,) = ask(db, Question(("month", "week"), whole))
            assert (row["month"], row["week"]) == (dt.date(2026, month, 1), week)


def test_an_order_of_loading_changes_nothing(tmp_path, db):
    """The same completions in another order cost the same, group by group."""
    mixed = list(some(4000))
    random.Random(9).shuffle(mixed)
    asked = Question(("model", "tier"), Period(FIRST, LAST))
    with warehouse(tmp_path / "w.duckdb", mixed, COST) as other:
        assert ask(other, asked) == ask(db, asked)


@pytest.mark.parametrize(
    "by", [("hour",), ("metadata:",), ("model", "model"), ("model", "metadata:model"), ("metadata:cost",)]
)
def test_what_cannot_be_asked(by):
    """A dimension that is none, or two columns of one name, is told in words."""
    with pytest.raises(UsageError):
        check(by)
