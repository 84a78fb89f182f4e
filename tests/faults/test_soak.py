"""The README's table of attacks is what a soak writes: every attack has its line, and nothing was lost or noticed."""

from __future__ import annotations

import re

import pytest

from tests.truth.test_kills import ROOT

from .soak import BEGIN, COLUMNS, END, LEAST, Attack, attacks, drawn


def rows(text):
    table = text.partition(BEGIN)[2].partition(END)[0]
    return [line for line in table.splitlines() if line.startswith("| ")]


def test_the_table_has_every_attack():
    """In their order, each as often as promised, nothing lost, nothing noticed, with the seconds it took to heal."""
    head, *lines = rows((ROOT / "README.md").read_text(encoding="utf-8")) or [""]
    if not lines:
        pytest.skip("no soak has come to its end yet, so the README has no table: make soak")
    assert head == COLUMNS
    assert len(lines) == len(LEAST)
    for (name, least), line in zip(LEAST.items(), lines, strict=True):
        attack, measured, times, lost, seen, healed = (cell.strip() for cell in line.strip("|").split("|"))
        assert attack.startswith(name)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d, seed \d+", measured)
        assert (int(times.replace(",", "")) >= least, lost, seen) == (True, "0", "nothing")
        middle, most = map(float, healed.split(", "))
        assert 0 < middle <= most


def test_a_line_takes_the_place_of_the_former_one():
    """What is written is what the test above reads; the others' lines stay, and so does what is around the table."""
    one, other = list(LEAST)[:2]
    text = f"before{BEGIN}{END}after"
    for healed in ([9.0], [2.0, 1.0, 4.0]):
        text = drawn([Attack(one, healed, " (noted)").line(3)], text)
        text = drawn([Attack(other, [1.0]).line(3)], text)
    assert (text.startswith("before"), text.endswith("after")) == (True, True)
    head, first, second = rows(text)
    assert head == COLUMNS
    assert first.startswith(f"| {one} (noted) | ")
    assert first.endswith(", seed 3 | 3 | 0 | nothing | 2.0, 4.0 |")
    assert second.startswith(f"| {other} | ")


def test_every_attack_has_a_name(tmp_path):
    """There is one for each line of the table."""
    assert len(attacks(tmp_path, 0)) == len(LEAST)
