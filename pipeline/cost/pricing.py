"""What each completion cost and what that rests on, as SQL: every completion is priced, and then summed; pure.

    cost       no more than this: prompt tokens whose cached share is not told count as not cached
    cost_min   no less than this: they count as cached

Token classes are disjoint: cached, cache write and audio are taken out of the totals that they are part of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost.rates import MOST_TOKENS, rates, text

if TYPE_CHECKING:
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
    "is_tier_unsupported": "tier unsupported",
    "is_history_assumed": "history assumed",
    "is_prefix_matched": "prefix-matched",
}
#: Enough for a billion tokens at any rate, exact.
MONEY = "DECIMAL(38, 15)"


def priced(cost: Cost, price_set: str | None = None) -> str:
    """Return the query that prices every completion: flags, tokens and cost by class, ``cost`` and ``cost_min``."""
    return f"""
        WITH rates AS (
            {rates(cost, price_set)}
        ), counted AS (
            SELECT *, {_is_batch(cost)} AS is_batch,
                coalesce(prompt_cached_tokens, 0) AS cached,
                coalesce(prompt_cache_write_tokens, 0) AS cache_write,
                coalesce(prompt_audio_tokens, 0) AS audio_input,
                coalesce(completion_audio_tokens, 0) AS audio_output,
                prompt_tokens IS NULL OR completion_tokens IS NULL AS is_without_usage,
                CASE
                    WHEN least(prompt_tokens, completion_tokens, cached, cache_write, audio_input, audio_output) < 0
                        OR greatest(prompt_tokens, completion_tokens, cached, cache_write, audio_input, audio_output)
                            > {MOST_TOKENS} THEN true
                    ELSE cached + cache_write + audio_input > prompt_tokens OR audio_output > completion_tokens
                END AS is_inconsistent
            FROM completions
        ), joined AS (
            SELECT counted.*, rates.priced_as, rates.price_set, coalesce(rates.tier, '(none)') AS billed_tier,
                coalesce(rates.is_long, false) AS is_long_context,
                {_why_unpriced()} AS unpriced_because,
                unpriced_because IS NULL AS is_priced,
                is_priced AND prompt_cached_tokens IS NULL AND prompt_tokens > 0
                    AND coalesce(cached_input_rate <> input_rate, false) AS is_cached_share_unknown,
                is_priced AND NOT is_tier_known AS is_tier_unsupported,
                is_priced AND counted.created_date < known_from AS is_history_assumed,
                is_priced AND is_prefix AS is_prefix_matched,
                {", ".join(_tokens(name) for name in CLASSES)},
                greatest(rates.above_tokens, 0) AS above_tokens,
                {", ".join(_rate(name) for name in CLASSES)},
                {", ".join(f"{_own(name, 'list_rate')} AS used_{name}_list_rate" for name in CLASSES)}
            FROM counted LEFT JOIN rates
            ON rates.source = counted.source AND rates.model = counted.model
                AND rates.tier_asked = coalesce(counted.service_tier, '') AND rates.is_batch = counted.is_batch
                AND counted.created_date >= rates.valid_from AND counted.created_date < rates.valid_to
                AND coalesce(counted.prompt_tokens, 0) > rates.above_tokens
                AND coalesce(counted.prompt_tokens, 0) <= rates.up_to_tokens
        )
        SELECT *, {", ".join(f"({name}_tokens * used_{name}_rate)::{MONEY} AS {name}_cost" for name in CLASSES)},
            ({" + ".join(f"{name}_cost" for name in CLASSES)})::{MONEY} AS cost,
            CASE WHEN is_cached_share_unknown
                THEN (cost - input_tokens * (used_input_rate - least(used_input_rate, used_cached_input_rate)))::{MONEY}
                ELSE cost END AS cost_min
        FROM joined
    """


def _tokens(name: str) -> str:
    return f"CASE WHEN is_priced THEN ({CLASSES[name]})::DECIMAL(13, 0) END AS {name}_tokens"


def _rate(name: str) -> str:
    """Return the rate of a class, which is 0 where nothing of it can be priced: then it has no tokens."""
    return f"coalesce({_own(name, 'rate')}, 0) AS used_{name}_rate"


def _own(name: str, kind: str) -> str:
    """Name a class's rate: cached tokens and cache writes have the input's where they have none of their own."""
    own = f"rates.{name}_{kind}"
    return f"coalesce({own}, rates.input_{kind})" if name in {"cached_input", "cache_write"} else own


def _why_unpriced() -> str:
    return """CASE
        WHEN is_without_usage THEN 'no usage'
        WHEN is_inconsistent THEN 'usage inconsistent'
        WHEN counted.model IS NULL THEN 'no model'
        WHEN priced_as IS NULL THEN 'no price'
        WHEN input_rate IS NULL OR (output_rate IS NULL AND completion_tokens > audio_output) THEN 'no rate for text'
        WHEN (audio_input > 0 AND audio_input_rate IS NULL) OR (audio_output > 0 AND audio_output_rate IS NULL)
            THEN 'no rate for audio'
    END"""


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
