"""Several at once, readers that stay, analysts that write, folders that move: nothing is lost, nobody notices."""

from __future__ import annotations

import sys

import pytest

from . import load

#: A night in process leaves at most so many kB behind once the libraries are warm, on the average of many.
LEAK = 200


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "attack",
    [load.two_at_once, load.many_readers, load.held_open, load.rude_analyst, load.moved_elsewhere],
    ids=lambda attack: attack.__name__,
)
def test_nothing_is_lost_and_nobody_notices(tmp_path, attack):
    """Each attack twice; what it proves stands in its own docstring."""
    assert len(attack(tmp_path / "house", 2)) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_night_after_night_in_one_process(tmp_path):
    """Sixty nights in one process: memory stays flat, and files are as many as segments and dates need."""
    _, memory, files = load.nights(tmp_path / "house", 60)
    assert (memory[-1] - memory[19]) / 40 < LEAK
    assert files < 60 + 3 * 5 * 8 + 10  # segments; tables by date, three of them; what stands once
