"""Mutations fit the program as it is; ``make mutate`` tries them."""

from collections import Counter
from pathlib import Path

import pytest

from .catalogue import MUTATIONS
from .mutation import MORE, RULES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_has_one_place(mutation):
    """Its text is found exactly once, it changes the file, what it leaves is Python, and its tests are there."""
    assert mutation.count(ROOT) == 1
    broken = mutation.broken(ROOT)
    assert broken != (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(broken, mutation.file, "exec")
    assert mutation.tests
    assert [test for test in mutation.tests if not (ROOT / test.partition("::")[0]).exists()] == []


def test_every_rule_is_broken():
    """Each numbered rule of the walk and of storage has a mutation, names are unique, and there are enough."""
    assert set(RULES) <= {mutation.rule for mutation in MUTATIONS} <= {*RULES, MORE}
    assert [name for name, count in Counter(one.name for one in MUTATIONS).items() if count > 1] == []
    assert len(MUTATIONS) >= 25
