"""The table ``prices`` of the warehouse: those shipped and the owner's own, as statements and rows; pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.cost.prices import shipped, shipped_text
from pipeline.cost.rates import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


#: As rows they are stored in a thirtieth of the time that SQL text of them takes.
_ARROW = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DATE": pa.date32(), "DECIMAL(18, 9)": pa.decimal128(18, 9)}


def comment(cost: Cost, parts: Iterable[str]) -> str:
    """Say in the file itself what its prices and views were made of: they are made anew where that is another thing."""
    told = [shipped_text(), *map(repr, cost.prices), *parts]
    made_of = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
    return f"Rates of tokens, dated, by tier and unit. Prices and views of {made_of}."


def statements() -> Iterator[str]:
    """Make the table anew, empty."""
    yield f"CREATE OR REPLACE TABLE {NAME} ({', '.join(f'{name} {kind}' for name, (kind, _) in COLUMNS.items())})"
    for name, (_, meaning) in COLUMNS.items():
        yield f"COMMENT ON COLUMN {NAME}.{name} IS {text(meaning)}"


def rows(cost: Cost) -> pa.Table:
    """Return the table's rows, in the order of its columns."""
    schema = pa.schema([(name, _ARROW[kind]) for name, (kind, _) in COLUMNS.items()])
    prices = (*shipped(), *cost.prices)
    return pa.Table.from_pylist([{name: getattr(price, name) for name in COLUMNS} for price in prices], schema)
