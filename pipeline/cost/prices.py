"""The prices that the package ships: dated, by tier and unit, exact decimals in USD per million tokens; pure.

A price set is the whole table as one release of its source knew it; later sets are added, earlier ones stay to the
letter, so that a report can be repeated as of a set. How a row is read:

- ``model`` is lower case. ``exact`` is the complete name, ``prefix`` its beginning; no two prefixes of a set overlap,
  and no prefix covers an exact name with other prices. Dated names that the source does not list have no row.
- A model has a tier where it has a row for that tier and ``input`` at the date. Such a tier is complete: what the
  source leaves at the standard rate (the cached share under batch, say) is repeated. ``fast`` is ``priority``.
- A unit without a row is part of a wider one and has its rate: ``cached_input`` and ``cache_write`` of ``input``. For
  audio the source does the same; whether that is to be believed is for the reader to judge. Reasoning is output.
- ``above_tokens`` is met by strictly more prompt tokens (genai-prices compares with ``>``, too); then the whole request
  has that rate. The greatest threshold met counts, for each unit on its own: one without a row for it keeps its rate.
- ``valid_from`` is included, ``valid_to`` is not; both are days of UTC.
- ``known_from`` is the first day on which the rate is known to be true. Before it the rate is an assumption.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TIERS = ("standard", "flex", "priority", "batch")
UNITS = ("input", "cached_input", "cache_write", "audio_input", "cached_audio_input", "output", "audio_output")
MATCHES = ("exact", "prefix")
#: The price set of what the owner's settings say.
OWN = "own"


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of a model costs under a tier, beyond a number of prompt tokens, in a period."""

    price_set: str
    model: str
    match: str
    tier: str
    unit: str
    above_tokens: int
    valid_from: date | None
    valid_to: date | None
    usd_per_mtok: Decimal
    known_from: date


@dataclass(frozen=True, slots=True)
class PriceSet:
    """The name of a price set, which is the day its source was released, and where it comes from."""

    price_set: str
    origin: str


@cache
def shipped() -> tuple[Price, ...]:
    """Return the prices of all sets, the oldest set first."""
    return tuple(
        Price(
            price_set=row["price_set"],
            model=row["model"],
            match=row["match"],
            tier=row["tier"],
            unit=row["unit"],
            above_tokens=int(row["above_tokens"]),
            valid_from=_day(row["valid_from"]),
            valid_to=_day(row["valid_to"]),
            usd_per_mtok=Decimal(row["usd_per_mtok"]),
            known_from=date.fromisoformat(row["known_from"]),
        )
        for row in _rows("prices.csv")
    )


@cache
def sets() -> tuple[PriceSet, ...]:
    """Return the price sets, the oldest first."""
    return tuple(PriceSet(row["price_set"], row["origin"]) for row in _rows("price_sets.csv"))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def shipped_text() -> str:
    """Return the prices of all sets as they are shipped: what tells fastest whether they are others."""
    return _text("prices.csv")


def _rows(name: str) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(_text(name).splitlines())


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
