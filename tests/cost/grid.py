"""Cases of usage, each with what genai-prices makes of it, and why ours is to be another where it is.

Every model of OpenAI's that genai-prices has a price per token for, by tier, the days around each change, cached share,
cache writes, audio, and both sides of each threshold; then every further name of these models, and oddities.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import genai_prices

from tests.cost.seed_prices import CONTEXTS, GAPS, RELEASED, Made, names_of, provider, tier_starts, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from genai_prices.types import ModelInfo

#: genai-prices silently takes the standard rate for a tier that it does not know, or not for this model, or not yet at
#: a day before the standard price last changed: the tier's rate of that time is not known.
TIER_UNKNOWN = "no such tier"
TIER_WITHOUT_RATE = "the model has no rate for the tier"
TIER_BEFORE_CHANGE = "the tier's rate before the last change of the standard price is not known"
#: genai-prices takes the standard rate before the day on which it learned the tier's; we take the tier's.
TIER_HISTORY = "the tier's rate is taken to have held before it was learned"
#: genai-prices lets the tier's rates go before those of batch.
BATCH_AND_TIER = "batch goes before the tier served"
#: genai-prices takes the rate for text, of input or output.
AUDIO_WITHOUT_RATE = "the model has no rate for audio"
#: genai-prices takes nothing for the output.
OUTPUT_WITHOUT_RATE = "the model has no rate for output"
#: genai-prices refuses: it wants the cached audio tokens, which the API does not tell.
CACHED_AUDIO = "how much of the audio was cached is not told"
#: genai-prices refuses only where it has a rate for each of the details.
BAD_USAGE = "details exceed their total"
#: genai-prices knows dated names from a list.
DATED_NAME = "the date is cut off the name"
NOT_IN_GENAI = "genai-prices does not know the model"

SMALL, COMPLETION, SOME = 1_234, 567, 1_000
WRITTEN, HEARD, SPOKEN = 100, 90, 50
TODAY = max(RELEASED.values())
KNOWN = (None, "default", "flex", "priority", "fast")
TIERS = (*KNOWN, "auto", "scale", "turbo")


@dataclass(frozen=True)
class Case:
    """One completion's usage, and its price by genai-prices: None where that refuses or does not know the model."""

    model: str
    service_tier: str | None
    is_batch: bool
    created: date
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None
    cache_write: int | None
    audio_in: int | None
    audio_out: int | None
    expected: Decimal | None
    differs: str | None


@dataclass(frozen=True)
class _Asked:
    """A case without its answer."""

    model: str
    service_tier: str | None = None
    is_batch: bool = False
    created: date = TODAY
    prompt_tokens: int = SMALL
    completion_tokens: int = COMPLETION
    cached_tokens: int | None = None
    cache_write: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    differs: str | None = None


def cases(every: int = 1) -> Iterator[Case]:
    """Yield the cases, or each ``every``-th of them; take a prime, so that no axis falls into step."""
    for asked in itertools.islice(_asked(), 0, None, every):
        yield Case(**{**asked.__dict__, "expected": expected(asked)})


def expected(asked: Case | _Asked) -> Decimal | None:
    """Return the price by genai-prices, or None where it refuses or does not know the model."""
    context = {"service_tier": asked.service_tier} if asked.service_tier else {}
    if asked.is_batch:
        context["processing"] = "batch"
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=asked.prompt_tokens,
                output_tokens=asked.completion_tokens,
                cache_read_tokens=asked.cached_tokens,
                cache_write_tokens=asked.cache_write,
                input_audio_tokens=asked.audio_in,
                output_audio_tokens=asked.audio_out,
            ),
            model_ref=asked.model,
            provider_id="openai",
            genai_request_timestamp=datetime(
                asked.created.year, asked.created.month, asked.created.day, 12, tzinfo=UTC
            ),
            price_context=context,
        ).total_price
    except (LookupError, ValueError):
        return None


def _asked() -> Iterator[_Asked]:
    for model in _models():
        first, *others = [name for name, _ in _names(model)]
        for created, prompt in itertools.product(_days(model), _prompts(model)):
            for tier, is_batch in [*((tier, False) for tier in TIERS), (None, True), ("default", True), ("flex", True)]:
                few = tier not in KNOWN or prompt != SMALL
                for details in itertools.islice(_details(model, prompt), 5 if few else None):
                    differs = details.get("differs") or _tier_differs(model, tier, created, is_batch=is_batch)
                    completion = COMPLETION if "output" in _units(model) else 0
                    yield _Asked(first, tier, is_batch, created, prompt, completion, **{**details, "differs": differs})
        differs = None if "output" in _units(model) else OUTPUT_WITHOUT_RATE
        for name in (first, *others):
            yield _Asked(name, cached_tokens=SOME, differs=differs)
            yield _Asked(name, "default", prompt_tokens=272_001, differs=differs)
    yield from _oddities()


def _oddities() -> Iterator[_Asked]:
    for name in GAPS:
        yield _Asked(f"{name}org::id", differs=NOT_IN_GENAI)
    yield _Asked("gpt-4.1-2031-01-01", cached_tokens=SOME, differs=DATED_NAME)
    yield _Asked("gpt-5.6-luna-2026-08-01", cached_tokens=SOME)
    yield _Asked("GPT-4o", cached_tokens=SOME)
    for name in ("no-such-model", "openai/gpt-4o", "gpt-4o-", "gpt", "ft:gpt-4o:org::id", "gpt-4.1-2025-4-14"):
        yield _Asked(name)
    for name in ("gpt-4o", "gpt-4", "gpt-6-sol", "gpt-audio"):
        yield _Asked(name, prompt_tokens=0, completion_tokens=0)
        yield _Asked(
            name, prompt_tokens=0, completion_tokens=0, cached_tokens=0, cache_write=0, audio_in=0, audio_out=0
        )
        yield _Asked(name, cached_tokens=SMALL + 1, differs=BAD_USAGE)
        yield _Asked(name, cached_tokens=SOME, cache_write=SMALL, differs=BAD_USAGE)
        yield _Asked(name, audio_out=COMPLETION + 1, differs=BAD_USAGE)


def _tier_differs(model: ModelInfo, tier: str | None, created: date, *, is_batch: bool) -> str | None:
    """Say why the tier makes ours another price, or rest on another thing at the same price."""
    served = {"default": None, "fast": "priority"}.get(tier or "default", tier)
    if is_batch and served:
        return BATCH_AND_TIER
    name = "batch" if is_batch else served
    if name is None:
        return None
    if name not in CONTEXTS:
        return TIER_UNKNOWN
    periods = _tokens(model.id).get(name)
    if periods is None:
        return TIER_WITHOUT_RATE
    if periods[0].start and created < periods[0].start:
        return TIER_BEFORE_CHANGE
    starts = tier_starts(model, CONTEXTS[name])
    return TIER_HISTORY if starts and created < starts[0] else None


def _details(model: ModelInfo, prompt: int) -> Iterator[dict[str, object]]:
    units = _units(model)
    yield {}
    yield {"cached_tokens": 0, "cache_write": 0, "audio_in": 0, "audio_out": 0}
    yield {"cached_tokens": SOME}
    yield {"cached_tokens": prompt}
    yield {"cached_tokens": SOME, "cache_write": WRITTEN}
    heard = None if "audio_input" in units else AUDIO_WITHOUT_RATE
    spoken = None if "audio_output" in units else AUDIO_WITHOUT_RATE
    yield {"audio_in": HEARD, "differs": heard}
    yield {"audio_out": SPOKEN, "differs": spoken}
    yield {"audio_in": HEARD, "audio_out": SPOKEN, "differs": heard or spoken}
    if not spoken or not heard:
        both = CACHED_AUDIO if "cached_audio_input" in units else heard or spoken
        yield {"cached_tokens": SOME, "audio_in": HEARD, "audio_out": SPOKEN, "differs": both}


def _prompts(model: ModelInfo) -> list[int]:
    edges = sorted(
        {above for periods in _tokens(model.id).values() for each in periods for _, above in each.rates} - {0}
    )
    return [SMALL, *(edge + step for edge in edges or (272_000,) for step in ((-1, 0, 1) if edges else (1,)))]


def _days(model: ModelInfo) -> list[date]:
    changes = {each.start for periods in _tokens(model.id).values() for each in periods if each.start}
    changes |= {start for context in CONTEXTS.values() for start in tier_starts(model, context)}
    day = timedelta(days=1)
    return sorted({date(2024, 2, 29), TODAY, *changes, *(change - day for change in changes)})


def _units(model: ModelInfo) -> set[str]:
    return {unit for periods in _tokens(model.id).values() for each in periods for unit, _ in each.rates}


@cache
def _models() -> tuple[ModelInfo, ...]:
    """Return the models that have a price for input."""
    found = provider("openai").models
    return tuple(model for model in found if any(unit == "input" for unit, _ in tokens_of(model)["standard"][-1].rates))


@cache
def _tokens(name: str) -> dict:
    return tokens_of(next(model for model in provider("openai").models if model.id == name))


def _names(model: ModelInfo) -> list[tuple[str, str]]:
    """Return the names and beginnings of names of a model, completed to names."""
    openai, made = provider("openai"), Made(TODAY, "")
    found = [(name + "x" if match == "prefix" else name, match) for name, match in names_of(model, made)]
    return [(name, match) for name, match in found if openai.find_model(name).id == model.id]
