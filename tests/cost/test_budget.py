"""Budgets: each is told in a line that says how it stands, and never says passed where it may not be."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.cost.budget import Spent, between, condition, dollars
from pipeline.cost.settings import Budget

from .warehouse import completion, warehouse


def spent(least, most, *, projected=None, unpriced=0, month=100):
    at_rate = None if projected is None else Decimal(projected)
    return Spent(Budget("search", Decimal(month)), Decimal(least), Decimal(most), at_rate, unpriced)


@pytest.mark.parametrize(
    ("one", "line", "is_passed", "is_projected"),
    [
        (spent(50, 50), "search: $50.00 of $100.00 (50 %)", False, False),
        (spent(40, 50, projected=90), "search: $40.00 to $50.00 of $100.00 (50 %)", False, False),
        (spent(110, 120), "search: $110.00 to $120.00 of $100.00 (120 %) - PASSED", True, False),
        (spent(90, 120), "… - PASSED AT MOST, depending on the cached share", True, False),
        (spent(50, 50, projected=150), "… - projected to be $150.00 by the end of the month", False, True),
        (spent(1, 1, unpriced=3), "…; 3 requests are unpriced", False, False),
        (spent(1, 1, month=0), "search: $1.00 of $0.00 - PASSED", True, False),
    ],
)
def test_one_line_says_how_it_stands(one, line, is_passed, is_projected):
    """Spent, allowed, whether that is passed, or will be, and what is not in it."""
    assert one.line == line if not line.startswith("…") else one.line.endswith(line[1:])
    assert (one.is_passed, one.is_projected) == (is_passed, is_projected)


@pytest.mark.parametrize(
    ("amount", "said"),
    [("0", "$0.00"), ("0.005", "$0.005"), ("0.0000001", "<$0.000001"), ("1234.567", "$1,234.57"), ("-3", "$-3.00")],
)
def test_amounts_are_written_for_people(amount, said):
    """Cents, or the first figures of less."""
    assert dollars(Decimal(amount)) == said


def test_bounds_that_read_alike_are_one():
    """Two amounts of the same cents are one."""
    assert between(Decimal("1.001"), Decimal("1.002")) == "$1.00"
    assert between(Decimal(1), Decimal(2)) == "$1.00 to $2.00"


@pytest.mark.parametrize(
    ("budget", "ids"),
    [
        (Budget("all", Decimal(1)), {"c0", "c1", "c2"}),
        (Budget("source", Decimal(1), source="test"), {"c1"}),
        (Budget("model", Decimal(1), model="gpt-5"), {"c2"}),
        (Budget("capitals", Decimal(1), model="GPT-5"), {"c2"}),
        (Budget("tags", Decimal(1), metadata={"it's": "x' OR true --"}), {"c0"}),
    ],
)
def test_a_budget_is_for_what_it_names(tmp_path, budget, ids):
    """By source, by the beginning of the model's name, by metadata whatever stands in it."""
    rows = [
        completion(0, metadata=[("it's", "x' OR true --")]),
        completion(1, source="test"),
        completion(2, model="gpt-5-2025-08-07"),
    ]
    with warehouse(tmp_path / "w.duckdb", rows) as db:
        found = db.execute(f"SELECT id FROM completions WHERE {condition(budget)}").fetchall()
    assert {id_ for (id_,) in found} == ids
