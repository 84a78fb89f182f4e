"""What the organization used and was billed, worked out from the completions that are stored, and from what is added.

The bill is exact: tokens of a UTC day, model, tier and batch, at the prices that this package ships or those set here.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.cost.prices import shipped
from pipeline.sandbox.body import glance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.sandbox.store import Store

_MILLION = 1_000_000
_BATCH = "batch"
#: What a line item calls a class of tokens.
_UNITS = {"input": "input", "cached_input": "cached input", "output": "output"}


@dataclass(frozen=True, slots=True)
class Used:
    """Requests of one UTC day that share model, tier and batch."""

    day: dt.date
    model: str
    requests: int
    input: int
    output: int
    cached: int = 0
    """Of input, those read from the cache."""
    tier: str = "default"
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Something billed that is no completion."""

    day: dt.date
    line_item: str
    amount: Decimal
    quantity: Decimal | None = None
    quantity_unit: str | None = None


@dataclass(slots=True)
class Billing:
    """What the bill says beyond the completions that are stored; a test may change it while a server answers."""

    project: str = "proj_sandbox"
    """Whose completions are stored; of other projects there is nothing."""
    more: list[Used] = field(default_factory=list)
    """Requests that were not stored."""
    lines: list[Line] = field(default_factory=list)
    """Other endpoints."""
    cached: Callable[[Mapping[str, Any]], int] = lambda _: 0
    """How many tokens of a stored completion were read from the cache, where it does not tell itself."""
    batch: Callable[[Mapping[str, Any]], bool] = lambda _: False
    """Whether a stored completion came through the Batch API."""
    tier: Callable[[Mapping[str, Any]], str] = lambda row: row.get("service_tier") or "default"
    """What tier a stored completion is billed at."""
    discount: Callable[[Used], Decimal] = lambda _: Decimal(0)
    """Percent off the list price."""
    prices: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    """US dollars per million tokens by model and class, in place of those shipped."""
    hides_cached: set[dt.date] = field(default_factory=set)
    """Days of which Usage does not say how many tokens were cached; the bill always does."""
    tells_quantities: bool = True
    """Whether line items say how much of it was billed."""
    tells_usage: bool = True
    tells_costs: bool = True

    def usage(self, store: Store) -> Iterator[Used]:
        """Yield what was used, each combination once."""
        sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for one in (*self._stored(store), *self.more):
            total = sums[one.day, one.model, one.tier, one.batch]
            for place, number in enumerate((one.requests, one.input, one.output, one.cached)):
                total[place] += number
        for (day, model, tier, batch), (requests, input_, output, cached) in sums.items():
            yield Used(day, model, requests, input_, output, cached, tier, batch)

    def _stored(self, store: Store) -> Iterator[Used]:
        for body in store.bodies().values():
            row = glance(body)
            usage = row.get("usage") or {}
            details = usage.get("prompt_tokens_details") or {}
            yield Used(
                dt.datetime.fromtimestamp(row["created"], dt.UTC).date(),
                row["model"],
                1,
                usage.get("prompt_tokens", 0),
                usage.get("completion_tokens", 0),
                details["cached_tokens"] if "cached_tokens" in details else self.cached(row),
                self.tier(row),
                self.batch(row),
            )

    def bill(self, store: Store) -> Iterator[Line]:
        """Yield the line items: of each day and model one for each class of tokens, then all else."""
        amounts: dict[tuple[dt.date, str, str], tuple[Decimal, int]] = {}
        for one in self.usage(store):
            tokens = {"input": one.input - one.cached, "cached_input": one.cached, "output": one.output}
            for unit, number in tokens.items():
                before = amounts.get((one.day, one.model, unit), (Decimal(0), 0))
                price = self._price(one, unit) * number / _MILLION
                amounts[one.day, one.model, unit] = (before[0] + price, before[1] + number)
        for (day, model, unit), (amount, number) in amounts.items():
            if number:
                told = (Decimal(number), "tokens") if self.tells_quantities else (None, None)
                yield Line(day, f"{model}, {_UNITS[unit]}", amount, *told)
        yield from self.lines

    def _price(self, one: Used, unit: str) -> Decimal:
        tier = _BATCH if one.batch else {"default": "standard"}.get(one.tier, one.tier)
        price = self.prices.get(one.model, {}).get(unit)
        if price is None:
            listed = _listed(one.model, tier, one.day)
            price = listed.get(unit, listed["input"])
        return price * (100 - self.discount(one)) / 100


def _listed(model: str, tier: str, day: dt.date) -> Mapping[str, Decimal]:
    """Look up what is shipped: the newest set, an exact name, a short prompt; nothing costs nothing."""
    newest = max(price.price_set for price in shipped())
    found = {
        (price.tier, price.unit): price.usd_per_mtok
        for price in shipped()
        if price.price_set == newest and price.match == "exact" and price.model == model and not price.above_tokens
        if (price.valid_from or dt.date.min) <= day < (price.valid_to or dt.date.max)
    }
    there = tier if (tier, "input") in found else "standard"
    return {"input": Decimal(0)} | {unit: price for (of, unit), price in found.items() if of == there}


def usage_results(told: Iterable[Used], keys: Iterable[str], *, tells_cached: bool) -> list[dict[str, Any]]:
    """Write one day's usage as Usage results, split by the keys that were asked for; the others are null."""
    wanted = {"model": "model", "service_tier": "tier", "batch": "batch"}
    split = [wanted[key] for key in keys if key in wanted]
    sums: dict[tuple[Any, ...], Used] = {}
    for one in told:
        key = tuple(getattr(one, name) for name in split)
        before = sums.get(key, replace(one, requests=0, input=0, output=0, cached=0))
        sums[key] = replace(
            before,
            requests=before.requests + one.requests,
            input=before.input + one.input,
            output=before.output + one.output,
            cached=before.cached + one.cached,
        )
    return [_usage_result(one, split, tells_cached=tells_cached) for one in sums.values()]


def _usage_result(one: Used, split: list[str], *, tells_cached: bool) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": one.input,
        "output_tokens": one.output,
        "input_cached_tokens": one.cached if tells_cached else None,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": one.requests,
        "project_id": None,
        "user_id": None,
        "api_key_id": None,
        "model": one.model if "model" in split else None,
        "batch": one.batch if "batch" in split else None,
        "service_tier": one.tier if "tier" in split else None,
    }


def cost_results(lines: Iterable[Line], keys: Iterable[str], project: str) -> list[dict[str, Any]]:
    """Write one day's bill as Costs results; not split by line item it is one sum."""
    keys, found = set(keys), list(lines)
    if "line_item" not in keys and found:
        found = [replace(found[0], line_item="", amount=sum((line.amount for line in found), Decimal(0)))]
    return [
        {
            "object": "organization.costs.result",
            "amount": {"value": line.amount, "currency": "usd"},
            "line_item": line.line_item or None,
            "project_id": project if "project_id" in keys else None,
            "quantity": line.quantity if line.line_item else None,
            "quantity_unit": line.quantity_unit if line.line_item else None,
        }
        for line in found
    ]
