"""The questions that people ask most, each a ``.sql`` file of this folder; pure.

A file begins with comments: its title, a sentence that explains it, and a line for each value that it takes.
``-- $rows (20): …`` has a default, ``-- $key (optional): …`` may be left out, and ``-- $words (such as refund): …`` has
to be given. What follows is one SELECT over the snapshot; a value is a parameter of it, never a part of its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE = re.compile(r"\$(\w+) \((optional|such as (.+?)|.+?)\): (.+)")
_COMMENT = "-- "
#: Of a whole number that DuckDB takes.
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Value:
    """A value that a recipe takes."""

    name: str
    meaning: str
    default: str | int | None = None
    """What it is where none is given; a whole number takes whole numbers only."""
    example: str = ""
    """A value to begin with, where one has to be given."""

    @property
    def begins(self) -> str | int | None:
        """What a notebook begins with."""
        return self.example or self.default

    def read(self, text: str) -> str | int:
        """Return what somebody gave; raises UsageError where it should be a whole number and is none."""
        if not isinstance(self.default, int):
            return text
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise UsageError(f"--set {self.name}: is a whole number, such as {self.default}, and not {text[:40]!r}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A question and what it is about."""

    name: str
    title: str
    explanation: str
    """One sentence."""
    values: tuple[Value, ...]
    sql: str
    """The whole file, comments included."""

    def filled(self, given: Mapping[str, str]) -> dict[str, str | int | None]:
        """Return every value by name, given or not; raises UsageError where one lacks, is unknown or is wrong."""
        known = {value.name: value for value in self.values}
        for name in given:
            if name not in known:
                takes = ", ".join(known) or "no value"
                raise UsageError(f"recipe {self.name} has no value {name!r}", hint=f"it takes {takes}")
        for value in self.values:
            if value.example and not given.get(value.name):
                hint = f"{value.meaning}: --set {value.name}={value.example}"
                raise UsageError(f"recipe {self.name} needs {value.name}", hint=hint)
        return {name: value.read(given[name]) if name in given else value.default for name, value in known.items()}


def recipes() -> dict[str, Recipe]:
    """Return every recipe by name."""
    files = [file for file in resources.files(__package__).iterdir() if file.name.endswith(".sql")]
    named = {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
    return {name: parse(name, named[name]) for name in sorted(named)}


def find(name: str) -> Recipe:
    """Return one recipe; raises UsageError where there is none of that name."""
    known = recipes()
    if name not in known:
        raise UsageError(f"there is no recipe {name!r}", hint=f"there are {', '.join(known)}; see query --recipes")
    return known[name]


def parse(name: str, text: str) -> Recipe:
    """Read a recipe from the text of its file."""
    lines = text.splitlines()
    comments = [line.removeprefix(_COMMENT) for line in lines if line.startswith(_COMMENT)]
    title, explanation, *values = comments
    return Recipe(name, title, explanation, tuple(map(_value, values)), text.strip())


def _value(line: str) -> Value:
    told = _VALUE.fullmatch(line)
    if told is None:
        raise ValueError(f"no value: {line}")
    name, default, example, meaning = told.groups()
    if default == "optional" or example:
        return Value(name, meaning, example=example or "")
    return Value(name, meaning, default=int(default) if default.isdigit() else default)
