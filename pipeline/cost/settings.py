"""The owner's word on cost, as the settings tell it: own prices, discounts, names, the mark of a batch, budgets.

Readers raise ValueError with what a value must be.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.cost.prices import OWN, TIERS, UNITS, Price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_T = TypeVar("_T")
#: What the table of prices keeps exactly: billionths of a dollar per million tokens, up to a billion dollars.
_PLACES, _MOST = 9, Decimal(10) ** 9
_WHOLE = 100
_DAYS = ("valid_from", "valid_to")
_PRICE = {"model", "match", "tier", "above_tokens", *_DAYS, *UNITS}


@dataclass(frozen=True, slots=True)
class Discount:
    """What is taken off list prices; of several that fit, the first counts."""

    percent: Decimal
    source: str | None = None
    """Only for this source."""
    model: str | None = None
    """Only for models whose names begin so."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a calendar month of UTC."""

    name: str
    month: Decimal
    """US dollars."""
    source: str | None = None
    model: str | None = None
    """Models whose names begin so."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """Everything that the settings say about cost."""

    prices: tuple[Price, ...] = ()
    """They win over those that come with the program, and no discount applies to them."""
    discounts: tuple[Discount, ...] = ()
    deployments: Mapping[str, str] = field(default_factory=dict)
    """Names that the server uses for models, by name."""
    batch: Mapping[str, str] = field(default_factory=dict)
    """Metadata that mark a completion as part of a batch; empty: none is."""
    budgets: tuple[Budget, ...] = ()
    tags: tuple[str, ...] = ()
    """Metadata keys that may appear in reports and exports."""


def money(value: Any) -> Decimal:
    """Read an amount of US dollars, exactly."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        amount = Decimal(value)
        if amount.is_finite() and 0 <= amount < _MOST and amount == round(amount, _PLACES):
            return amount
    raise ValueError("must be an amount of US dollars such as 2.5, not negative")


def prices(value: Any) -> tuple[Price, ...]:
    """Read the owner's prices: of a model, US dollars per million tokens by unit."""
    found = [price for place, table in _tables(value, _PRICE) for price in _price(place, table)]
    seen: set[tuple[object, ...]] = set()
    for price in found:
        key = (price.model, price.match, price.tier, price.unit, price.above_tokens, price.valid_from)
        if key in seen:
            raise ValueError(f"tell the price of {price.model} for {price.unit} twice")
        seen.add(key)
    return tuple(found)


def _price(place: str, table: Mapping[str, Any]) -> Iterator[Price]:
    units = {unit: _within(f"{place}.{unit}", money, table[unit]) for unit in UNITS if unit in table}
    if not {"input", "output"} <= units.keys():
        raise ValueError(f"{place} must tell the price of input and of output, such as input = 2.5, output = 10")
    days = {name: _within(f"{place}.{name}", _day, table[name]) for name in _DAYS if name in table}
    start, end = days.get("valid_from"), days.get("valid_to")
    if start and end and start >= end:
        raise ValueError(f"{place} must begin before it ends")
    for unit, amount in units.items():
        yield Price(
            price_set=OWN,
            model=_within(f"{place}.model", _text, table.get("model")).lower(),
            match=_within(f"{place}.match", _one_of("exact", "prefix"), table.get("match", "exact")),
            tier=_within(f"{place}.tier", _one_of(*TIERS), table.get("tier", "standard")),
            unit=unit,
            above_tokens=_within(f"{place}.above_tokens", _tokens, table.get("above_tokens", 0)),
            valid_from=start,
            valid_to=end,
            usd_per_mtok=amount,
            known_from=dt.date.min,
        )


def discounts(value: Any) -> tuple[Discount, ...]:
    """Read discounts off list prices."""
    return tuple(
        Discount(
            percent=_within(f"{place}.percent", _percent, table.get("percent")),
            source=_within(f"{place}.source", _optional(_text), table.get("source")),
            model=_within(f"{place}.model", _optional(_text), table.get("model")),
        )
        for place, table in _tables(value, {"percent", "source", "model"})
    )


def budgets(value: Any) -> tuple[Budget, ...]:
    """Read budgets, each with a name of its own."""
    found = tuple(
        Budget(
            name=_within(f"{place}.name", _text, table.get("name")),
            month=_within(f"{place}.month", money, table.get("month")),
            source=_within(f"{place}.source", _optional(_text), table.get("source")),
            model=_within(f"{place}.model", _optional(_text), table.get("model")),
            metadata=_within(f"{place}.metadata", pairs, table.get("metadata", {})),
        )
        for place, table in _tables(value, {"name", "month", "source", "model", "metadata"})
    )
    if len({budget.name for budget in found}) < len(found):
        raise ValueError("must have a name of its own each")
    return found


def pairs(value: Any) -> dict[str, str]:
    """Read pairs of texts."""
    if not isinstance(value, dict) or not all(isinstance(text, str) and text for text in value.values()):
        raise ValueError('must be pairs of texts, such as { team = "search" }')
    return dict(value)


def _tables(value: Any, keys: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield tables of a list, each with where it stands."""
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise ValueError("must be a list of tables")
    for number, table in enumerate(value, 1):
        if unknown := sorted(table.keys() - keys):
            raise ValueError(f"{number} holds {', '.join(unknown)}; there are {', '.join(sorted(keys))}")
        yield f"{number}", table


def _within(place: str, read: Callable[[Any], _T], value: Any) -> _T:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{place} {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value


def _optional(read: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    return lambda value: None if value is None else read(value)


def _day(value: Any) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise ValueError("must be a day such as 2026-10-31")  # noqa: TRY004 - as above
    return value


def _tokens(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise ValueError("must be a whole number of tokens")
    return value


def _percent(value: Any) -> Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        percent = Decimal(value)
        if percent.is_finite() and 0 <= percent <= _WHOLE:
            return percent
    raise ValueError(f"must be a number from 0 to {_WHOLE}")


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return str(value)

    return read
