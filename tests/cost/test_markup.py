"""Any text and any amount can be shown: harmless, no wider than there is room, and never as more or less than it is."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cost import amounts
from pipeline.cost.amounts import NOTHING
from pipeline.cost.markup import Html, element, name, shortened, shown
from pipeline.cost.queries import _literal
from pipeline.cost.svg import scale

from .reported import Page

AMOUNTS = st.decimals(0, 10**12, places=15)


@pytest.mark.slow
@given(text=st.text(), width=st.integers(5, 60))
def test_a_text_is_shown_harmlessly(text, width):
    """It has no control character, begins no formula, and fits."""
    told = shown(text, width)
    assert all(letter.isprintable() or letter in "\u200c\u200d" for letter in told)
    assert not told.startswith(("=", "+", "-", "@"))
    assert 0 < len(told) <= max(width, 7)


@given(text=st.text())
def test_a_name_is_read_as_it_is_shown(text):
    """What a browser reads is the text shown, in an element of its own."""
    page = Page(element("p", name(text)))
    assert [one.name for one in page.root.all()] == ["p", "bdi"]
    assert page.root.text == shown(text, 120)


@given(value=st.text())
def test_an_attribute_is_read_as_it_is(value):
    """Quotes and markup in an attribute stay in it."""
    page = Page(element("p", "x", aria_label=value.replace("\r", "").replace("\x00", "")))
    assert page.root.all("p")[0].attributes == {"aria-label": value.replace("\r", "").replace("\x00", "")}


def test_markup_is_not_escaped_twice():
    """Elements hold elements, and text that is not markup is escaped."""
    assert element("p", element("b", "<"), "&", None, Html("<br>")) == "<p><b>&lt;</b>&amp;<br></p>"


def test_wide_letters_take_the_room_of_two():
    """Names of letters twice as wide lose their middle sooner."""
    assert shortened("日本語の長い名前", 9) == "日本…名前"
    assert shortened("short", 5) == "short"


@given(text=st.text())
def test_a_literal_is_the_text_and_can_be_read(text):
    """SQL tells letters that could steer a page by number, and means the same."""
    duckdb = pytest.importorskip("duckdb")
    literal = _literal(text)
    assert literal.isprintable()
    assert duckdb.execute(f"SELECT {literal}").fetchall() == [(text,)]


@given(amount=AMOUNTS)
def test_a_cost_is_never_shown_as_nothing(amount):
    """Something is not $0.00, and digits are enough for three figures."""
    for digits in (2, amounts.places([amount])):
        told = amounts.dollars(amount, digits)
        assert bool(amount) == (Decimal(told.replace("$", "").replace(",", "").replace("<", "")) > 0)
    assert amounts.places([amount, None]) >= 2


@given(least=AMOUNTS, more=AMOUNTS)
def test_bounds_are_told_where_they_can_be_seen(least, more):
    """Two amounts that look alike are told once."""
    told = amounts.between(least, least + more)
    assert (" to " in told) == (amounts.dollars(least) != amounts.dollars(least + more))


@given(part=st.integers(0, 10**9), rest=st.integers(0, 10**9))
def test_a_share_is_never_more_than_it_is(part, rest):
    """A little is not 0 %, and nearly all is not 100 %."""
    told = amounts.share(part, part + rest)
    if part and rest:
        assert told not in {"0\N{NO-BREAK SPACE}%", "100\N{NO-BREAK SPACE}%"}
    assert (told == NOTHING) == (part + rest == 0)


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        ("112", "100", "+12 %"),
        ("88", "100", "−12 %"),  # noqa: RUF001 - a minus sign
        ("100", "100", "±0 %"),
        ("2000", "100", "20 times"),
        ("1", "0", "new"),
        ("0", "0", NOTHING),
        (None, "100", NOTHING),
    ],
)
def test_changes(now, before, told):
    """A change is told in percent, a large one as a factor, and none where there is nothing to compare."""
    amount = None if now is None else Decimal(now)
    assert amounts.change(amount, Decimal(before)).replace("\N{NO-BREAK SPACE}", " ") == told


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (999, "999"),
        (999_999, "999,999"),
        (38_400_000, "38.4 million"),
        (7 * 10**9, "7 billion"),
        (10**15, "1,000 trillion"),
    ],
)
def test_large_numbers(number, told):
    """Millions and more are told in words."""
    assert amounts.large(number).replace("\N{NO-BREAK SPACE}", " ") == told


def test_numbers_beside_an_axis():
    """Thousands and more are told by a letter."""
    assert [amounts.compact(Decimal(one)) for one in (0, 500, 2500, 10**6)] == ["0", "500", "2.5k", "1M"]
    assert [amounts.rounded(Decimal(one)) for one in (0, 1234, 5_386_192)] == ["0", "1.23k", "5.39M"]


@given(most=AMOUNTS)
def test_an_axis_reaches_over_everything(most):
    """It begins at 0, reaches the largest value, and has few ticks at even steps."""
    ticks = scale(most)
    assert ticks[0] == 0
    assert ticks[-1] >= most
    assert 2 <= len(ticks) <= 6
    assert len({after - before for before, after in pairwise(ticks)}) == 1
