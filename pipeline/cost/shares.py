"""How much of a prompt was read from the cache where no completion tells: the share of its day, as SQL; pure.

Usage tells cached and all input tokens of each source, UTC day, model and tier; a tier that it does not tell has the
share of the model's whole day. A share is an exact decimal, rounded down to a billionth of a thousandth.
"""

from __future__ import annotations

#: A share in 12 places: times a rate of 15 it still is an exact decimal.
SHARE = "DECIMAL(13, 12)"
_TIERS = ("standard", "flex", "priority", "batch", "(other)")


def tier(service_tier: str, is_batch: str) -> str:
    """Return the SQL for the tier that a share is looked up by."""
    name = f"lower(coalesce({service_tier}, ''))"
    return f"""CASE WHEN {is_batch} THEN 'batch' WHEN {name} IN ('', 'default', 'standard') THEN 'standard'
        WHEN {name} = 'fast' THEN 'priority' WHEN {name} IN ('flex', 'priority') THEN {name} ELSE '(other)' END"""


#: One row for each source, day, model and tier: a completion finds one share or none.
SHARES = f"""
    WITH told AS (
        SELECT source, created_date AS day, model, {tier("service_tier", "coalesce(batch, false)")} AS tier,
            sum(input_tokens) AS input, sum(input_cached_tokens) AS cached
        FROM organization_usage
        WHERE input_tokens > 0 AND input_cached_tokens BETWEEN 0 AND input_tokens GROUP BY ALL
    ), whole AS (
        SELECT source, day, model, sum(input) AS input, sum(cached) AS cached FROM told GROUP BY ALL
    )
    SELECT whole.source, whole.day, whole.model, tiers.tier,
        ((coalesce(told.cached, whole.cached)::HUGEINT * {10**12} // coalesce(told.input, whole.input)::HUGEINT)
            ::DECIMAL(13, 0) * 0.000000000001)::{SHARE} AS cached_share
    FROM whole CROSS JOIN (VALUES {", ".join(f"('{name}')" for name in _TIERS)}) AS tiers(tier)
    LEFT JOIN told ON told.source = whole.source AND told.day = whole.day AND told.model = whole.model
        AND told.tier = tiers.tier
"""
