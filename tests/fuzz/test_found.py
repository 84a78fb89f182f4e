"""Every page that was ever hard: those that the fuzzer begins with, and what it has found since."""

from pathlib import Path

import pytest

from .hostile import HOSTILE
from .promises import check

EXAMPLE = Path(__file__).parents[1] / "data" / "list-example.json"
#: Inputs at which a promise was broken once, as ``fuzz_page.py`` shows them.
FOUND: tuple[bytes, ...] = ()


@pytest.mark.parametrize("body", [*HOSTILE, *FOUND, EXAMPLE.read_bytes()], ids=lambda body: repr(body[:30]))
def test_a_page_that_was_hard_keeps_every_promise(body):
    """Split into rows as sent, one completion per id, sound tables; refused only if it is no JSON page."""
    check(body)
