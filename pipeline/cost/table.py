"""The table ``prices`` of the warehouse: those shipped and the owner's own, as statements; pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.cost.prices import shipped
from pipeline.cost.rates import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from pipeline.cost.prices import Price
    from pipeline.cost.settings import Cost

NAME = "prices"
#: By column: its type, and what it says.
COLUMNS = {
    "price_set": ("VARCHAR", "The table of prices that says so, named by its day; 'own' is the settings' own."),
    "model": ("VARCHAR", "A model's name in lower case, or its beginning."),
    "match": ("VARCHAR", "'exact', or 'prefix' where model is the beginning of names."),
    "tier": ("VARCHAR", "standard, flex, priority or batch."),
    "unit": ("VARCHAR", "What is counted; a unit without a row has the rate of the one that it is part of."),
    "above_tokens": ("BIGINT", "More prompt tokens than this give the whole request this rate."),
    "valid_from": ("DATE", "First UTC day of the rate; NULL is open."),
    "valid_to": ("DATE", "First UTC day after it; NULL is open."),
    "usd_per_mtok": ("DECIMAL(18, 9)", "US dollars per million tokens."),
    "known_from": ("DATE", "First day on which the rate is known to be true; before it, it is an assumption."),
}


def comment(parts: Iterable[str]) -> str:
    """Say in the file itself what its prices and views were made of: they are made anew where that is another thing."""
    made_of = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"Rates of tokens, dated, by tier and unit. Prices and views of {made_of}."


def statements(cost: Cost) -> Iterator[str]:
    """Make the table anew."""
    yield f"CREATE OR REPLACE TABLE {NAME} ({', '.join(f'{name} {kind}' for name, (kind, _) in COLUMNS.items())})"
    yield f"INSERT INTO {NAME} VALUES {', '.join(_row(price) for price in _prices(cost))}"
    for name, (_, meaning) in COLUMNS.items():
        yield f"COMMENT ON COLUMN {NAME}.{name} IS {text(meaning)}"


def _prices(cost: Cost) -> tuple[Price, ...]:
    return (*shipped(), *cost.prices)


def _row(price: Price) -> str:
    values = (
        *map(text, (price.price_set, price.model, price.match, price.tier, price.unit)),
        str(price.above_tokens),
        _day(price.valid_from),
        _day(price.valid_to),
        f"{price.usd_per_mtok:f}",
        _day(price.known_from),
    )
    return f"({', '.join(values)})"


def _day(day: date | None) -> str:
    return "NULL" if day is None else f"DATE '{day.isoformat()}'"
