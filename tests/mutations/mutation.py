"""What a mutation is: the program broken in one place, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Design §4 and §5 number their rules; each has a mutation at least. What else is promised stands under ``more``.
RULES = (*(f"walk {number}" for number in range(1, 11)), *(f"storage {number}" for number in range(1, 10)))
MORE = "more"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the program."""

    name: str
    rule: str
    """One of ``RULES``, or ``MORE``."""
    file: str
    text: str
    """Found exactly once in the file."""
    replacement: str
    tests: tuple[str, ...]
    """The fewest tests that must fail, as pytest takes them."""
    environment: str = ""
    """Where what they need is installed; the tests' own where none is named."""

    def count(self, root: Path) -> int:
        """Count how often the text is found below ``root``: once, or the mutation has to be looked at."""
        return (root / self.file).read_text(encoding="utf-8").count(self.text)

    def broken(self, root: Path) -> str:
        """Return the file as the mutation leaves it."""
        return (root / self.file).read_text(encoding="utf-8").replace(self.text, self.replacement)
