"""The README's table of attacks is what a soak writes: every attack has its line, and nothing was lost or noticed."""

from __future__ import annotations

import pytest

from tests.truth.test_kills import ROOT

from .soak import BEGIN, COLUMNS, END, LEAST, Attack, table


def rows(text):
    drawn = text.partition(BEGIN)[2].partition(END)[0]
    return [line for line in drawn.splitlines() if line.startswith("| ")]


def test_the_table_has_every_attack():
    """In their order, each as often as promised, nothing lost, nothing noticed, with the seconds it took to heal."""
    head, *lines = rows((ROOT / "README.md").read_text(encoding="utf-8")) or [""]
    if not lines:
        pytest.skip("no soak has come to its end yet, so the README has no table: make soak")
    assert head == COLUMNS
    assert len(lines) == len(LEAST)
    for (name, least), line in zip(LEAST.items(), lines, strict=True):
        attack, times, lost, seen, healed = (cell.strip() for cell in line.strip("|").split("|"))
        assert attack.startswith(name)
        assert (int(times.replace(",", "")) >= least, lost, seen) == (True, "0", "nothing")
        middle, most = map(float, healed.split(", "))
        assert 0 < middle <= most


def test_a_table_is_drawn_as_it_is_read():
    """What is written is what the test above reads."""
    head, line = rows(table([Attack("named", [2.0, 1.0, 4.0], " (noted)")], 3))
    assert (head, line) == (COLUMNS, "| named (noted) | 3 | 0 | nothing | 2.0, 4.0 |")
