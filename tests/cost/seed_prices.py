"""Seed the shipped prices from the installed genai-prices: ``python -m tests.cost.seed_prices``.

A development tool: run it after another version of genai-prices was pinned, say when that version was released
(``--released 2026-12-01``), and commit what it wrote. It adds a price set and leaves the earlier ones to the letter;
for a version that is there already it writes nothing, and fails where that version would now give other prices. It says
what genai-prices knows and the table leaves out, and why.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
)

import pipeline.cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FOLDER = Path(pipeline.cost.__file__).parent
COLUMNS = (
    "price_set", "model", "match", "tier", "unit", "above_tokens",
    "valid_from", "valid_to", "usd_per_mtok", "known_from",
)  # fmt: skip
SET_COLUMNS = ("price_set", "origin")

#: When a version was released: the name of its price set.
RELEASED = {"0.2.3": date(2026, 11, 10)}

#: Its price keys and our units; keys that are none of these are not counted in tokens of text or sound.
UNITS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "cached_audio_input",
    "output_mtok": "output",
    "output_audio_mtok": "audio_output",
}

#: Our tiers and what genai-prices calls them; its ``fast`` must be the same as its ``priority``.
CONTEXTS = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "batch": {"processing": "batch"},
}
FAST = {"service_tier": "fast"}
DEFAULT = {"service_tier": "default"}

#: Fine-tuned models that genai-prices 0.2.3 does not know, as LiteLLM 1.109.1 has them from OpenAI's page
#: (developers.openai.com/api/docs/pricing). Its batch rates are left out: not all of the cached share's are half the
#: standard rate, nor does the page tell any.
GAPS_ORIGIN = "LiteLLM 1.109.1 for ft:gpt-4.1 and ft:o4-mini"
GAPS = {
    "ft:gpt-4.1-2025-04-14:": {"input": "3", "cached_input": "0.75", "output": "12"},
    "ft:gpt-4.1-mini-2025-04-14:": {"input": "0.8", "cached_input": "0.2", "output": "3.2"},
    "ft:gpt-4.1-nano-2025-04-14:": {"input": "0.2", "cached_input": "0.05", "output": "0.8"},
    "ft:o4-mini-2025-04-16:": {"input": "4", "cached_input": "1", "output": "16"},
}

#: ``prices_checked`` and the standard input, cached and output rates of that day, which the package does not carry:
#: from prices/providers/openai.yml of github.com/pydantic/genai-prices at 01d6df8c. A rate that is still the same is
#: known since then.
CHECKED = {
    "gpt-3.5-turbo": ("2025-07-04", "0.5", None, "1.5"),
    "gpt-3.5-turbo-0613": ("2025-11-07", "1.5", None, "2"),
    "gpt-3.5-turbo-1106": ("2025-11-07", "1", None, "2"),
    "gpt-3.5-turbo-16k": ("2025-07-04", "3", None, "4"),
    "gpt-3.5-turbo-instruct": ("2025-07-04", "1.5", None, "2"),
    "gpt-4": ("2025-07-04", "30", None, "60"),
    "gpt-4-32k": ("2025-07-04", "60", None, "120"),
    "gpt-4-turbo": ("2025-07-04", "10", None, "30"),
    "gpt-4.1": ("2025-07-04", "2", "0.5", "8"),
    "gpt-4.1-mini": ("2025-07-04", "0.4", "0.1", "1.6"),
    "gpt-4.1-nano": ("2025-07-04", "0.1", "0.025", "0.4"),
    "gpt-4.5-preview": ("2025-07-04", "75", "37.5", "150"),
    "gpt-4o": ("2025-07-04", "2.5", "1.25", "10"),
    "gpt-4o-mini": ("2025-07-04", "0.15", "0.075", "0.6"),
    "gpt-4o-mini-realtime-preview": ("2025-07-04", "0.6", "0.3", "2.4"),
    "gpt-4o-realtime-preview": ("2025-07-04", "5", "2.5", "20"),
    "gpt-5": ("2025-11-13", "1.25", "0.125", "10"),
    "gpt-5-mini": ("2025-11-13", "0.25", "0.025", "2"),
    "gpt-5-nano": ("2025-11-13", "0.05", "0.005", "0.4"),
    "gpt-5-pro": ("2025-11-13", "15", None, "120"),
    "gpt-5.1": ("2025-11-13", "1.25", "0.125", "10"),
    "gpt-5.1-codex-mini": ("2025-11-13", "0.25", "0.025", "2"),
    "o1": ("2025-07-04", "15", "7.5", "60"),
    "o1-mini": ("2025-07-04", "1.1", "0.55", "4.4"),
    "o1-preview": ("2025-07-04", "15", "7.5", "60"),
    "o1-pro": ("2025-07-04", "150", None, "600"),
    "o3-mini": ("2025-07-04", "1.1", "0.55", "4.4"),
    "o4-mini": ("2025-07-04", "1.1", "0.275", "4.4"),
    "text-embedding-3-large": ("2025-07-04", "0.13", None, None),
    "text-embedding-3-small": ("2025-07-04", "0.02", None, None),
    "text-embedding-ada-002": ("2025-07-04", "0.1", None, None),
}

Row = dict[str, str]
#: Rates of one model under one tier in one period, by unit and threshold.
Rates = dict[tuple[str, int], Decimal]


class NotExpressibleError(ValueError):
    """genai-prices says something that the table has no words for."""


@dataclass
class Made:
    """A price set, and what it leaves out."""

    price_set: date
    origin: str
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why, and what."""

    def leave_out(self, what: str, why: str) -> None:
        """Remember what has no row."""
        self.left_out.setdefault(why, []).append(what)


@dataclass(frozen=True)
class Period:
    """Rates from a day on, and since when they are known; None where that is not said."""

    start: date | None
    rates: Rates
    known: date | None


def provider(name: str) -> Any:
    """Return one provider of the bundled data."""
    return next(each for each in providers if each.id == name)


def make(released: date, release: str) -> Made:
    """Make the price set of the installed genai-prices."""
    made = Made(released, f"genai-prices {release}, {GAPS_ORIGIN}")
    openai = provider("openai")
    seen: dict[str, str] = {}
    for model in openai.models:
        rates = tokens_of(model)
        if not any(unit == "input" for period in rates.get("standard", ()) for unit, _ in period.rates):
            made.leave_out(model.id, _why_no_input(model))
            continue
        for key in sorted({key for prices in _all_prices(model) for key in prices.__dict__} - UNITS.keys()):
            made.leave_out(model.id, f"{key} is not of a token of text or sound")
        for name, match in names_of(model, made):
            owner = openai.find_model(name)
            if name in seen or owner.id != model.id:
                made.leave_out(f"{name} of {model.id}", f"{owner.id} has the name already")
                continue
            seen[name] = match
            made.rows += _rows(made.price_set, name, match, rates, CHECKED.get(model.id))
    for name, gap in GAPS.items():
        if openai.find_model(name):
            made.leave_out(name, "genai-prices knows it by now, LiteLLM's rates are not needed")
            continue
        known = {"standard": [Period(None, {(unit, 0): Decimal(usd) for unit, usd in gap.items()}, None)]}
        made.rows += _rows(made.price_set, name, "prefix", known, None)
        seen[name] = "prefix"
    _refuse_overlaps(seen, openai)
    for what, why in _azure(openai, _noon(released)):
        made.leave_out(f"Azure's {what}", why)
    made.rows.sort(key=_order)
    return made


def tokens_of(model: ModelInfo) -> dict[str, list[Period]]:
    """Return the periods of a model's rates, for each tier that it has rates for."""
    starts = _starts(model.prices if isinstance(model.prices, list) else ())
    first = model.prices[0].prices if isinstance(model.prices, list) else model.prices
    found = {"standard": [Period(None, _rates(first), None)]}
    for start in starts:
        found["standard"].append(Period(start, _rates(model.get_prices(_noon(start))), start))
    variants = model.price_variants or []
    for variant in variants:
        if variant.when not in (*CONTEXTS.values(), FAST, DEFAULT):
            raise NotExpressibleError(f"{model.id}: a variant for {variant.when}")
        if variant.when == DEFAULT and variant.prices.__dict__:
            raise NotExpressibleError(f"{model.id}: prices of its own for the default tier")
    if _variant_prices(variants, FAST) != _variant_prices(variants, CONTEXTS["priority"]):
        raise NotExpressibleError(f"{model.id}: fast differs from priority")
    for tier, context in CONTEXTS.items():
        if any(variant.when == context for variant in variants):
            found[tier] = list(_tier(model, context, starts))
    return found


def tier_starts(model: ModelInfo, context: Mapping[str, str]) -> list[date]:
    """Return the days on which prices of a tier change; the first is when they were learned, none where unsaid."""
    variants = [variant for variant in model.price_variants or () if variant.when == context]
    return [] if any(variant.constraint is None for variant in variants) else _starts(variants)


def _tier(model: ModelInfo, context: Mapping[str, str], starts: list[date]) -> Iterator[Period]:
    """Yield what a tier costs: what was learned on a day is taken to hold since the standard prices last changed.

    Where they changed, nothing says what the tier cost before, but that it was not this.
    """
    learned, *changes = tier_starts(model, context) or [None]
    after = [start for start in starts if learned is None or start > learned]
    before = [start for start in starts if learned is not None and start <= learned]
    first = before[-1] if before else None
    yield Period(first, _rates(model.get_prices(_noon(learned or date.min), context)), learned)
    for start in sorted({*after, *changes}):
        yield Period(start, _rates(model.get_prices(_noon(start), context)), start)


def names_of(model: ModelInfo, made: Made) -> Iterator[tuple[str, str]]:
    """Yield the names a model is matched by, each with ``exact`` or ``prefix``."""
    clauses = list(_clauses(model.match))
    prefixes = sorted({clause.starts_with.lower() for clause in clauses if isinstance(clause, ClauseStartsWith)})
    yield from ((prefix, "prefix") for prefix in prefixes)
    exact = sorted({clause.equals.lower() for clause in clauses if isinstance(clause, ClauseEquals)})
    yield from ((name, "exact") for name in exact)
    for clause in clauses:
        if isinstance(clause, ClauseEquals | ClauseStartsWith):
            continue
        if isinstance(clause, ClauseRegex) and _dated(clause.regex) in exact:
            made.leave_out(f"{model.id} by {clause.regex}", "a date is cut off a name anyway")
        else:
            made.leave_out(f"{model.id} by {clause}", "it is neither a name nor the beginning of one")


def _dated(regex: str) -> str:
    """Return the name that a regex wants a date behind, or nothing."""
    start, end = "^", r"-\d{4}-\d{2}-\d{2}$"
    if not (regex.startswith(start) and regex.endswith(end)):
        return ""
    return regex[len(start) : -len(end)].replace("\\.", ".")


def _clauses(match: Any) -> Iterator[Any]:
    if isinstance(match, ClauseOr):
        for clause in match.or_:
            yield from _clauses(clause)
    else:
        yield match


def _starts(dated: Iterable[Any]) -> list[date]:
    found = set()
    for each in dated:
        if isinstance(each.constraint, StartDateConstraint):
            found.add(each.constraint.start_date)
        elif each.constraint is not None:
            raise NotExpressibleError(f"a constraint that is not a day: {each.constraint}")
    return sorted(found)


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _all_prices(model: ModelInfo) -> list[ModelPrice]:
    standard = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
    return standard + [variant.prices for variant in model.price_variants or ()]


def _variant_prices(variants: Iterable[Any], when: Mapping[str, str]) -> list[Any]:
    return [(each.constraint, each.prices) for each in variants if each.when == when]


def _rates(prices: ModelPrice) -> Rates:
    rates: Rates = {}
    for key, unit in UNITS.items():
        price = prices.__dict__.get(key)
        if isinstance(price, TieredPrices):
            rates[unit, 0] = price.base
            rates.update({(unit, tier.start): tier.price for tier in price.tiers})
        elif price is not None:
            rates[unit, 0] = price
    return rates


def _why_no_input(model: ModelInfo) -> str:
    keys = {key for prices in _all_prices(model) for key in prices.__dict__}
    return f"it is priced by {', '.join(sorted(keys))} alone" if keys else "it is free"


def _rows(price_set: date, name: str, match: str, tiers: Mapping[str, list[Period]], checked: Any) -> Iterator[Row]:
    for tier, periods in tiers.items():
        ends = [later.start for _, later in pairwise(periods)] + [None]
        for key in sorted({key for period in periods for key in period.rates}):
            unit, above = key
            spans: list[list[Any]] = []
            for period, end in zip(periods, ends, strict=True):
                usd = period.rates.get(key)
                known = period.known or price_set
                if tier == "standard" and period.known is None and checked and usd is not None and not above:
                    then = dict(zip(("input", "cached_input", "output"), checked[1:], strict=True)).get(unit)
                    known = date.fromisoformat(checked[0]) if then is not None and Decimal(then) == usd else known
                if end is not None:
                    known = min(known, end - timedelta(days=1))  # who dates a change knows what was before it
                if spans and spans[-1][1] == period.start and spans[-1][2] == usd:
                    spans[-1][1], spans[-1][3] = end, min(spans[-1][3], known)
                else:
                    spans.append([period.start, end, usd, known])
            for start, end, usd, known in spans:
                if usd is not None:
                    yield {
                        "price_set": price_set.isoformat(),
                        "model": name,
                        "match": match,
                        "tier": tier,
                        "unit": unit,
                        "above_tokens": str(above),
                        "valid_from": start.isoformat() if start else "",
                        "valid_to": end.isoformat() if end else "",
                        "usd_per_mtok": format(usd, "f"),
                        "known_from": known.isoformat(),
                    }


def _order(row: Row) -> tuple[Any, ...]:
    units = tuple(UNITS.values())
    tiers = ("standard", *CONTEXTS)
    return (
        row["price_set"], row["model"], row["match"], tiers.index(row["tier"]), units.index(row["unit"]),
        int(row["above_tokens"]), row["valid_from"],
    )  # fmt: skip


def _refuse_overlaps(seen: Mapping[str, str], openai: Any) -> None:
    """Make sure that the order in which names are looked up makes no difference."""
    prefixes = [name for name, match in seen.items() if match == "prefix"]
    for prefix in prefixes:
        for name, match in seen.items():
            if name == prefix or not name.startswith(prefix):
                continue
            if match == "prefix" or openai.find_model(name).id != openai.find_model(prefix).id:
                raise NotExpressibleError(f"{prefix} covers {name}")


def _azure(openai: Any, when: datetime) -> Iterator[tuple[str, str]]:
    """Yield the names that have a price of their own at Azure, and why it is not in the table."""
    for model in provider("azure").models:
        for clause in _clauses(model.match):
            if not isinstance(clause, ClauseEquals):
                yield f"{model.id} by {clause}", "it is not a name"
                continue
            other = openai.find_model(clause.equals)
            if other is None:
                yield clause.equals, "it is no model of OpenAI's"
            elif _rates(model.get_prices(when)) != _rates(other.get_prices(when)):
                yield clause.equals, "OpenAI's own price stands"


def add(made: Made, prices: str, sets: str) -> tuple[str, str]:
    """Add a price set to the texts of both files; a set that is there already leaves them as they are.

    What an earlier set says of a rate that has not changed stays known since then.
    """
    old_sets = list(csv.DictReader(io.StringIO(sets)))
    old = list(csv.DictReader(io.StringIO(prices)))
    name = made.price_set.isoformat()
    if any(each["price_set"] >= name for each in old_sets):
        if {"price_set": name, "origin": made.origin} not in old_sets:
            raise NotExpressibleError(f"{name} is not later than the price sets there are")
        earlier = [row for row in old if row["price_set"] < name]
        if [row for row in old if row["price_set"] == name] != _remembered(made.rows, earlier):
            raise NotExpressibleError(f"{name} would now have other prices, and a price set never changes")
        return prices, sets
    start, set_start = prices or ",".join(COLUMNS) + "\n", sets or ",".join(SET_COLUMNS) + "\n"
    rows = _remembered(made.rows, old)
    return (
        start + _csv(COLUMNS, rows),
        set_start + _csv(SET_COLUMNS, [{"price_set": name, "origin": made.origin}]),
    )


def _remembered(rows: Iterable[Row], earlier: Iterable[Row]) -> list[Row]:
    names = ("model", "match", "tier", "unit", "above_tokens", "valid_from", "usd_per_mtok")
    known: dict[tuple[str, ...], str] = {}
    for row in earlier:
        key = tuple(row[name] for name in names)
        known[key] = min(row["known_from"], known.get(key, row["known_from"]))
    return [
        {**row, "known_from": min(row["known_from"], known.get(tuple(row[name] for name in names), row["known_from"]))}
        for row in rows
    ]


def _csv(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()


def main() -> None:
    """Write the price set of the installed genai-prices, and say what it leaves out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    release = version("genai-prices")
    parser.add_argument("--released", type=date.fromisoformat, default=RELEASED.get(release))
    released = parser.parse_args().released
    if released is None:
        parser.error(f"when was genai-prices {release} released? Say it by --released, and write it into RELEASED")
    made = make(released, release)
    files = FOLDER / "prices.csv", FOLDER / "price_sets.csv"
    before = [file.read_text(encoding="utf-8") if file.exists() else "" for file in files]
    after = add(made, *before)
    for file, text, was in zip(files, after, before, strict=True):
        if text != was:
            file.write_text(text, encoding="utf-8", newline="\n")
    said = [
        f"{made.price_set} ({made.origin}): {len(made.rows)} rows, {len({row['model'] for row in made.rows})} names",
        "written" if list(after) != before else "it was there already; nothing is changed",
        "left out:",
        *(f"  {why}: {', '.join(what)}" for why, what in made.left_out.items()),
    ]
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    main()
