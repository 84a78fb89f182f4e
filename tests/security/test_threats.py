"""The README's table of who may do harm names a test for every line."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Who may read what")[2].partition("\n## ")[0]
LINES = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", SECTION, re.MULTILINE)[1:]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0][:40])
def test_every_line_is_a_test(line):
    """The last column names tests that exist, each as file and function."""
    named = re.findall(r"`([^`]+)::(test_\w+)`", line[2])
    assert named
    assert ", ".join(f"`{file}::{name}`" for file, name in named) == line[2]
    for file, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_is_read():
    """A table that lost its shape would otherwise be no test at all."""
    assert len(LINES) == SECTION.count("\n| ") - 1 > 15
