"""How numbers are written for people: money to the cent or finer, counts, shares and changes; pure."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CENTS = 2
#: Stands where there is nothing to tell.
NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
#: A change begins with one of them where it is told in percent.
SIGNS = ("+", _MINUS)
#: Digits behind the point at which a column of small amounts ends: ten-thousandths of a cent.
_FINEST = 6
_ONE, _TEN = Decimal(1), Decimal(10)
_UNITS = ((Decimal(10) ** 12, "trillion", "T"), (Decimal(10) ** 9, "billion", "B"), (Decimal(10) ** 6, "million", "M"))
_THOUSAND = Decimal(1000)
#: A change beyond this is told as a factor.
_MANY = 10
_NBSP = "\u00a0"


def places(amounts: Iterable[Decimal | None]) -> int:
    """Return how many digits behind the point a column needs to tell its largest amount well."""
    most = max((abs(amount) for amount in amounts if amount is not None), default=_TEN)
    return CENTS if most >= 1 or not most else min(max(CENTS, 1 - most.adjusted() + 1), _FINEST)


def dollars(amount: Decimal, digits: int = CENTS) -> str:
    """Write an amount; rounding is for the eye alone."""
    rounded = amount.quantize(_ONE.scaleb(-digits), ROUND_HALF_EVEN)
    if amount and not rounded:
        return f"<${_ONE.scaleb(-digits)}"
    return f"{_MINUS}${-rounded:,}" if rounded < 0 else f"${rounded:,}"


def between(least: Decimal | None, most: Decimal | None, digits: int = CENTS) -> str:
    """Write an amount that is known within bounds; a dash where there is none."""
    if least is None or most is None:
        return NOTHING
    low, high = dollars(least, digits), dollars(most, digits)
    return high if low == high else f"{low} to {high}"


def count(number: int) -> str:
    """Write a number of things."""
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{number:,}{_NBSP}{what}{'s' * (number != 1)}"


def large(number: int) -> str:
    """Write a large number in words, with three figures."""
    for size, word, _ in _UNITS:
        if number >= size:
            told = Decimal(number) / size
            digits = max(0, 2 - told.adjusted())
            return f"{round(told, digits).normalize():,f}{_NBSP}{word}"
    return count(number)


def compact(number: Decimal) -> str:
    """Write a number on an axis."""
    for size, _, letter in (*_UNITS, (_THOUSAND, "thousand", "k")):
        if number >= size:
            return f"{(number / size).normalize():f}{letter}"
    return f"{number.normalize():f}"


def rounded(number: Decimal) -> str:
    """Write a number beside an axis, with as many figures as a reader takes in."""
    return compact(number.quantize(_ONE.scaleb(max(0, number.adjusted() - 2)), ROUND_HALF_EVEN))


def share(part: Decimal | int, whole: Decimal | int) -> str:
    """Write a part in percent; a little is never 0 %, nearly all is never 100 %."""
    if not whole:
        return NOTHING
    percent = 100 * Decimal(part) / Decimal(whole)
    rounded = round(percent, 1) if percent < _TEN else round(percent)
    if percent > 0 and not rounded:
        return f"<0.1{_NBSP}%"
    if percent < 100 <= rounded:  # noqa: PLR2004 - percent
        return f">99{_NBSP}%"
    return f"{Decimal(rounded).normalize():f}{_NBSP}%"


def change(now: Decimal | None, before: Decimal | None) -> str:
    """Write how an amount changed; a dash where there is nothing to compare with."""
    if not before or now is None:
        return NOTHING if not now else "new"
    ratio = now / before
    if ratio >= _MANY:
        return f"{ratio:,.0f} times"
    percent = round(100 * (ratio - 1))
    return f"{'+' if percent > 0 else _MINUS if percent < 0 else '±'}{abs(percent)}{_NBSP}%"
