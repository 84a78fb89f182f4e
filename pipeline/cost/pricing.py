"""What completions cost and what that rests on, as SQL: each is priced by rates of its own, exactly; pure.

    cost       no more than this: prompt tokens whose cached share is not told count as not cached
    cost_min   no less than this: they count as cached

Where Usage tells the share of their day (``shares``) both are the estimate with it: such input has a rate in between.

Token classes are disjoint: cached, cache write and audio are taken out of the totals that they are part of. Completions
with the same rates and reasons may be summed before they are priced (``grouped``): amounts are exact decimals, a rate
times a sum is the sum of the rate times each, and ten million completions are a few thousand products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost.prices import shipped
from pipeline.cost.rates import MOST_TOKENS, RATE, rates, text
from pipeline.cost.shares import SHARES, tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.cost.settings import Cost

#: Class of tokens, and what it is counted from.
CLASSES = {
    "input": "prompt_tokens - cached - cache_write - audio_input",
    "cached_input": "cached",
    "cache_write": "cache_write",
    "audio_input": "audio_input",
    "output": "completion_tokens - audio_output",
    "audio_output": "audio_output",
}
#: What a cost may rest on besides rates that are known to hold, in the order told.
REASONS = {
    "is_cached_share_unknown": "cached share unknown",
    "is_cached_share_estimated": "cached share from Usage",
    "is_tier_unsupported": "tier unsupported",
    "is_history_assumed": "history assumed",
    "is_prefix_matched": "prefix-matched",
}
#: Tokens of any number of completions times a rate of 15 places: exact.
MONEY, TOKENS = "DECIMAL(38, 15)", "DECIMAL(20, 0)"
_DETAILS = {
    "cached": "prompt_cached_tokens",
    "cache_write": "prompt_cache_write_tokens",
    "audio_input": "prompt_audio_tokens",
    "audio_output": "completion_audio_tokens",
}
#: What decides how a completion is priced, besides its rates; packed into one small number, which groups fast.
_TRAITS = {
    "is_without_usage": "prompt_tokens IS NULL OR completion_tokens IS NULL",
    "is_inconsistent": f"""CASE
        WHEN least(prompt_tokens, completion_tokens, {", ".join(_DETAILS.values())}) < 0
            OR greatest(prompt_tokens, completion_tokens, {", ".join(_DETAILS.values())}) > {MOST_TOKENS} THEN true
        ELSE coalesce(prompt_cached_tokens, 0) + coalesce(prompt_cache_write_tokens, 0)
            + coalesce(prompt_audio_tokens, 0) > prompt_tokens OR completion_audio_tokens > completion_tokens
        END""",
    "is_cached_told": "prompt_cached_tokens IS NOT NULL OR prompt_tokens = 0",
    "has_audio_input": "prompt_audio_tokens > 0",
    "has_audio_output": "completion_audio_tokens > 0",
    "has_text_output": "completion_tokens > coalesce(completion_audio_tokens, 0)",
}


def priced(cost: Cost, price_set: str | None = None) -> str:
    """Return the query that prices each completion: its columns, flags, tokens and cost by class, both bounds."""
    details = ", ".join(f"coalesce({column}, 0) AS {name}" for name, column in _DETAILS.items())
    return _priced(f"SELECT *, 1 AS requests, {_kinds(cost)}, {_traits()}, {details} FROM completions", cost, price_set)


def grouped(
    cost: Cost,
    keys: Mapping[str, str],
    *,
    where: str = "true",
    price_set: str | None = None,
    relation: str = "completions",
) -> str:
    """Return the query that prices groups of completions, with the same columns, and ``requests`` in each.

    ``keys`` are columns by name, as SQL over ``relation``, which has the columns of completions; besides, there is a
    row for each source, model, tier, UTC day and reason.
    """
    named = "".join(f"{expression} AS {name}, " for name, expression in keys.items())
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("prompt_tokens", "completion_tokens"))
    details = ", ".join(f"coalesce(sum({column}), 0) AS {name}" for name, column in _DETAILS.items())
    bits = " + ".join(f"{2**place} * coalesce({trait}, false)::UTINYINT" for place, trait in _numbered())
    unpacked = ", ".join(f"traits & {2**place} > 0 AS {name}" for place, name in enumerate(_TRAITS))
    summed = f"""
        SELECT {named}source, model, service_tier, created_date, {_kinds(cost)}, {bits} AS traits,
            count(*) AS requests, {sums}, {details}
        FROM {relation} WHERE {where} GROUP BY ALL
    """
    return _priced(f"SELECT * EXCLUDE (traits), {unpacked} FROM ({summed})", cost, price_set, is_small=True)


def _priced(counted: str, cost: Cost, price_set: str | None, *, is_small: bool = False) -> str:
    """Join what was counted with its rates; what is small is kept, and tells itself which rates it needs."""
    classes = ", ".join(f"({name}_tokens * used_{name}_rate)::{MONEY} AS {name}_cost" for name in CLASSES)
    return f"""
        WITH counted AS {"MATERIALIZED " if is_small else ""}(
            {counted}
        ), rates AS (
            SELECT *, {tier("tier_asked", "is_batch")} AS share_tier
            FROM ({rates(cost, price_set, "counted" if is_small else "completions")})
        ), joined AS (
            SELECT counted.*, rates.priced_as, rates.price_set, coalesce(rates.tier, '(none)') AS billed_tier,
                coalesce(rates.is_long, false) AS is_long_context,
                {_WHY_UNPRICED} AS unpriced_because,
                unpriced_because IS NULL AS is_priced,
                is_priced AND NOT is_cached_told AND coalesce(cached_input_rate <> input_rate, false) AS is_share_open,
                is_share_open AND cached_share IS NULL AS is_cached_share_unknown,
                is_share_open AND cached_share IS NOT NULL AS is_cached_share_estimated, cached_share,
                is_priced AND NOT is_tier_known AS is_tier_unsupported,
                is_priced AND counted.created_date < known_from AS is_history_assumed,
                is_priced AND is_prefix AS is_prefix_matched,
                {", ".join(_tokens(name) for name in CLASSES)},
                greatest(rates.above_tokens, 0) AS above_tokens,
                {", ".join(_rate(name, kind) for name in CLASSES for kind in ("rate", "list_rate"))},
                coalesce(rates.input_rate, 0) AS full_input_rate
            FROM counted LEFT JOIN rates
            ON rates.source = counted.source AND rates.model = counted.model
                AND rates.tier_asked = coalesce(counted.service_tier, '') AND rates.is_batch = counted.is_batch
                AND counted.created_date >= rates.valid_from AND counted.created_date < rates.valid_to
                AND counted.step >= {_steps(cost, "rates.above_tokens >= {}")}
                AND counted.step < {_steps(cost, "rates.up_to_tokens >= {}")}
                    + (rates.up_to_tokens = {MOST_TOKENS})::UTINYINT
            LEFT JOIN ({SHARES}) AS shares
            ON shares.source = counted.source AND shares.model = counted.model AND shares.day = counted.created_date
                AND shares.tier = rates.share_tier
        )
        SELECT *, {classes},
            ({" + ".join(f"{name}_cost" for name in CLASSES)})::{MONEY} AS cost,
            CASE WHEN is_cached_share_unknown
                THEN (cost - input_tokens * (used_input_rate - least(used_input_rate, used_cached_input_rate)))::{MONEY}
                ELSE cost END AS cost_min
        FROM joined
    """


_WHY_UNPRICED = """CASE
                    WHEN is_without_usage THEN 'no usage'
                    WHEN is_inconsistent THEN 'usage inconsistent'
                    WHEN counted.model IS NULL THEN 'no model'
                    WHEN priced_as IS NULL THEN 'no price'
                    WHEN has_text_output AND output_rate IS NULL THEN 'no rate for text'
                    WHEN (has_audio_input AND audio_input_rate IS NULL)
                        OR (has_audio_output AND audio_output_rate IS NULL) THEN 'no rate for audio'
                END"""


def _numbered() -> list[tuple[int, str]]:
    return [(place, f"({trait})") for place, trait in enumerate(_TRAITS.values())]


def _traits() -> str:
    return ", ".join(f"coalesce({trait}, false) AS {name}" for name, trait in _TRAITS.items())


def _kinds(cost: Cost) -> str:
    """Say whether a completion is of a batch, and how many of all thresholds its prompt is beyond."""
    return f"{_is_batch(cost)} AS is_batch, {_steps(cost, 'coalesce(prompt_tokens, 0) > {}')} AS step"


def _steps(cost: Cost, condition: str) -> str:
    """Count the thresholds of all prices for which a condition holds."""
    thresholds = sorted({price.above_tokens for price in (*shipped(), *cost.prices)} - {0})
    return f"({' + '.join(f'({condition.format(one)})::UTINYINT' for one in thresholds) or '0'})"


def _tokens(name: str) -> str:
    return f"CASE WHEN is_priced THEN ({CLASSES[name]})::{TOKENS} END AS {name}_tokens"


def _rate(name: str, kind: str) -> str:
    """Return a rate of a class: cached tokens and cache writes have the input's where they have none of their own.

    What has no rate has no tokens: it costs 0. Before discounts (``list_rate``) it stays unknown.
    """
    others = {"cached_input": f"rates.input_{kind}", "cache_write": f"rates.input_{kind}"}
    other = others.get(name, "0" if kind == "rate" else "NULL")
    rate = f"coalesce(rates.{name}_{kind}, {other})"
    return f"{_blended(rate, kind) if name == 'input' else rate} AS used_{name}_{kind}"


def _blended(rate: str, kind: str) -> str:
    """Let input whose cached share is estimated have one rate for both parts: amounts stay exact, however summed."""
    saved = f"{rate} - least({rate}, coalesce(rates.cached_input_{kind}, {rate}))"
    part = f"round({rate} - cached_share * ({saved}), 15)::{RATE}"
    return f"CASE WHEN is_cached_share_estimated THEN {part} ELSE {rate} END"


def _is_batch(cost: Cost) -> str:
    """Say by the owner's rule whether a completion came from a batch: the API does not mark it."""
    if not cost.batch:
        return "false"
    told = [f"coalesce(metadata[{text(key)}] = {text(value)}, false)" for key, value in sorted(cost.batch.items())]
    return f"({' AND '.join(told)})"


def basis() -> str:
    """Return the expression that tells what a cost rests on, from the flags."""
    told = ", ".join(f"CASE WHEN {flag} THEN '{reason}' END" for flag, reason in REASONS.items())
    return f"coalesce('unpriced: ' || unpriced_because, nullif(concat_ws(', ', {told}), ''), 'exact')"
