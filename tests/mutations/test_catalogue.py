"""Mutations fit the program as it is; ``make mutate`` tries them."""

import re
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


def test_tests_of_mutations_exist():
    """A test that was renamed would be noticed by whoever tries all of them, after minutes."""
    named = {test.rpartition("::")[2].partition("[")[0] for mutation in MUTATIONS for test in mutation.tests}
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _tests_of(path)}
    there.update(_tests_of(ROOT / "tests" / "load" / "conformance.py"))
    assert named - there == set()


def _tests_of(path):
    return re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_rule_is_broken():
    """Each numbered rule of the walk and of storage has a mutation, names are unique, and there are enough."""
    assert set(RULES) <= {mutation.rule for mutation in MUTATIONS} <= {*RULES, MORE}
    assert [name for name, count in Counter(one.name for one in MUTATIONS).items() if count > 1] == []
    assert len(MUTATIONS) >= 25
