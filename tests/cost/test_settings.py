"""The owner's word on cost: read exactly, told in words where it is wrong, and it wins."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from pipeline.config import load
from pipeline.cost.settings import Cost
from pipeline.errors import ConfigError

from .warehouse import completion, warehouse

DAY = dt.date(2026, 11, 20)


def read(tmp_path, text):
    """Read the table [cost] of a settings file."""
    file = tmp_path / "pipeline.toml"
    file.write_text(f"[sources.prod]\n[cost]\n{text}\n", encoding="utf-8")
    return load(file, {}).cost


def test_without_a_word_nothing_is_changed(tmp_path):
    """No table [cost] is the same as an empty one."""
    assert read(tmp_path, "") == Cost() == load(None, {}).cost


def test_amounts_are_exact(tmp_path):
    """Amounts are read as decimals, to the last digit that is written."""
    cost = read(tmp_path, 'prices = [{ model = "M", input = 0.100000001, output = 10, valid_from = 2026-01-01 }]')
    assert [(price.model, price.unit, price.usd_per_mtok) for price in cost.prices] == [
        ("m", "input", Decimal("0.100000001")),
        ("m", "output", Decimal(10)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price = []", "did you mean prices?"),
        ("prices = 3", "must be a list of tables"),
        ('prices = [{ model = "m", input = 1 }]', "1 must tell the price of input and of output"),
        ('prices = [{ model = "m", input = -1, output = 1 }]', "1.input must be an amount of US dollars"),
        ('prices = [{ model = "m", input = 0.0000000001, output = 1 }]', "1.input must be an amount"),
        ('prices = [{ model = "m", input = true, output = 1 }]', "1.input must be an amount"),
        ("prices = [{ input = 1, output = 1 }]", "1.model must be a text"),
        ('prices = [{ model = "m", input = 1, output = 1, tier = "gold" }]', "1.tier must be standard or flex"),
        ('prices = [{ model = "m", input = 1, output = 1, valid_from = "May" }]', "1.valid_from must be a day"),
        (
            'prices = [{ model = "m", input = 1, output = 1, valid_from = 2026-05-01, valid_to = 2026-05-01 }]',
            "begin before",
        ),
        ('prices = [{ model = "m", input = 1, output = 1 }, { model = "M", input = 2, output = 1 }]', "twice"),
        ('prices = [{ model = "m", input = 1, output = 1, colour = "red" }]', "1 holds colour; there are"),
        ("discounts = [{ percent = 101 }]", "1.percent must be a number from 0 to 100"),
        ("budgets = [{ month = 5 }]", "1.name must be a text"),
        ('budgets = [{ name = "a", month = 5 }, { name = "a", month = 6 }]', "a name of its own"),
        ("batch = { queue = 1 }", "must be pairs of texts"),
        ("deployments = 3", "must be pairs of texts"),
        ("tags = 3", "must be a list of texts"),
    ],
)
def test_each_mistake_is_told_with_its_place(tmp_path, text, said):
    """78 with file, key and what it must be."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value)
    assert "pipeline.toml: cost." in str(raised.value)


def costs(tmp_path, cost, *rows):
    """Return what each completion is priced as, and costs."""
    with warehouse(tmp_path / "w.duckdb", [completion(n, **row) for n, row in enumerate(rows)], cost) as db:
        sql = "SELECT priced_as, price_set, billed_tier, cost, basis FROM cost_by_completion ORDER BY completion_id"
        return db.execute(sql).fetchall()


def test_own_prices_win(tmp_path):
    """A model of the owner's price costs that, in its days; before them it costs what it does everywhere."""
    text = 'prices = [{ model = "gpt-4.1-2025-04-14", input = 1, output = 2, valid_from = 2026-11-20 }]'
    own, listed = costs(tmp_path, read(tmp_path, text), {"day": DAY}, {"day": DAY - dt.timedelta(days=1)})
    assert own == ("gpt-4.1-2025-04-14", "own", "standard", Decimal("0.0012"), "exact")
    assert (listed[1] != "own", listed[3]) == (True, Decimal("0.0028"))


def test_own_prices_beyond_a_threshold(tmp_path):
    """A request beyond the owner's threshold has that rate as a whole."""
    text = """prices = [{ model = "mine", input = 1, output = 1 },
        { model = "mine", input = 2, output = 3, above_tokens = 1000 }]"""
    rows = ({"model": "mine"}, {"model": "mine", "prompt_tokens": 1001, "completion_tokens": 0})
    few, many = costs(tmp_path, read(tmp_path, text), *rows)
    assert (few[3], many[3]) == (Decimal("0.0011"), Decimal("0.002002"))


def test_a_prefix_is_as_long_as_it_can_be(tmp_path):
    """Of several beginnings that fit, the longest counts, and an exact name before all."""
    text = """prices = [{ model = "my", match = "prefix", input = 1, output = 1 },
        { model = "my-model", match = "prefix", input = 2, output = 2 },
        { model = "my-model-x", input = 3, output = 3 }]"""
    told = costs(tmp_path, read(tmp_path, text), *({"model": model} for model in ("my-a", "my-model-a", "MY-model-x")))
    assert [(row[0], row[4]) for row in told] == [
        ("my", "prefix-matched"),
        ("my-model", "prefix-matched"),
        ("my-model-x", "exact"),
    ]


def test_discounts_are_off_list_prices_only(tmp_path):
    """The first discount that fits is taken off, by source and model; the owner's own prices are net."""
    text = """discounts = [{ percent = 50, source = "prod", model = "gpt-4.1" }, { percent = 10 }]
        prices = [{ model = "mine", input = 1, output = 1 }]"""
    rows = ({}, {"source": "test"}, {"model": "gpt-4o"}, {"model": "mine"})
    prod, test, other, mine = (row[3] for row in costs(tmp_path, read(tmp_path, text), *rows))
    assert (prod, test, mine) == (Decimal("0.0014"), Decimal("0.00252"), Decimal("0.0011"))
    assert other == Decimal("0.0035") * Decimal("0.9")


def test_names_of_deployments_and_batches(tmp_path):
    """A deployment is priced as the model behind it, and what the rule marks as batch at batch rates."""
    text = 'deployments = { Ours = "gpt-4.1-2025-04-14" }\nbatch = { queue = "night" }'
    rows = ({"model": "Ours"}, {"metadata": [("queue", "night")]}, {"metadata": [("queue", "day")]})
    named, night, day = costs(tmp_path, read(tmp_path, text), *rows)
    assert (named[0], named[3]) == ("gpt-4.1-2025-04-14", Decimal("0.0028"))
    assert (night[2], night[3], day[2], day[3]) == ("batch", Decimal("0.0014"), "standard", Decimal("0.0028"))


def test_a_change_of_settings_is_published(tmp_path):
    """Another price makes another table of prices and other views: readers get them with the next run."""
    from pipeline.load.duckdb import DuckDBDestination, shown  # noqa: PLC0415 - what a run compares

    file = tmp_path / "w.duckdb"
    told = []
    for text in ("", "", "discounts = [{ percent = 1 }]", 'prices = [{ model = "m", input = 1, output = 1 }]'):
        DuckDBDestination(file, cost=read(tmp_path, text)).close()
        told.append(str(shown(file)))
    assert told[0] == told[1]
    assert len({*told}) == 3
