"""Markup from plain values: every text is escaped unless it is markup already, and no text can steer the page; pure.

Model names and metadata are what anybody sent to the API: tags, control characters, text that runs backwards.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ELLIPSIS = "…"
#: Joins letters and emoji, and cannot reorder anything.
_JOINERS = "\u200c\u200d"
#: A spreadsheet that the page is pasted into would take such a text for a formula.
_FORMULA = ("=", "+", "-", "@")
#: More marks on a letter than any language has: they would grow over the lines above and below.
_MARKS = "[\\u0300-\\u036f\\u0483-\\u0489\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\ufe20-\\ufe2f]"
_HEAP = re.compile(f"({_MARKS}{{3}}){_MARKS}+")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None


def element(name: str, *children: Child, **attributes: str | None) -> Html:
    """Return an element; ``aria_label`` is the attribute aria-label, ``class_`` is class."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{told}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Put children one after the other, each escaped unless it is markup."""
    return Html("".join(_markup(child) for child in children if child is not None))


def _markup(child: str) -> str:
    return child if isinstance(child, Html) else escape(child)


def name(text: str, width: int = 120) -> Html:
    """Show a name from the data: in its own direction, without steering its neighbours."""
    return element("bdi", shown(text, width))


def shown(text: str, width: int) -> str:
    """Make a text from the data fit to be shown: visible, harmless when pasted, and not wider than that."""
    plain = _HEAP.sub(r"\1", "".join(map(_visible, text))) or "(empty)"
    return shortened(f"“{plain}”" if plain.startswith(_FORMULA) else plain, width)


def _visible(letter: str) -> str:
    if letter.isspace():
        return " "
    return letter if letter.isprintable() or letter in _JOINERS else "\N{REPLACEMENT CHARACTER}"


def shortened(text: str, width: int) -> str:
    """Leave out the middle of a text that is too wide: names differ at their ends."""
    if sum(map(_cells, text)) <= width:
        return text
    half = (width - 1) // 2
    return f"{_fitting(text, width - 1 - half)}{_ELLIPSIS}{_fitting(text[::-1], half)[::-1]}"


def _fitting(text: str, width: int) -> str:
    used = 0
    for place, letter in enumerate(text):
        used += _cells(letter)
        if used > width:
            return text[:place]
    return text


def _cells(letter: str) -> int:
    """Return how wide a letter is; marks count too, so that a heap of them has an end."""
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
