"""Which rates hold for which completions, as SQL: names matched, tiers and thresholds resolved; pure.

The table ``prices`` is long: a row per unit. Here it becomes wide, a row per source, model and tier that were seen,
and per period and threshold, so that a completion joins exactly one row or none.

    completions ──distinct──▶ names ──best match──▶ prices ──periods, thresholds──▶ rates
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost.prices import OWN

if TYPE_CHECKING:
    from pipeline.cost.settings import Cost

#: Tokens of one unit in one completion beyond which usage is no usage: what is kept exact has 30 digits.
MOST_TOKENS = 10**12
#: USD per token, exact to a billionth of a dollar per million tokens.
RATE = "DECIMAL(18, 15)"
UNITS = ("input", "cached_input", "cache_write", "audio_input", "cached_audio_input", "output", "audio_output")
FIRST, LAST = "DATE '0001-01-01'", "DATE '9999-12-31'"


def text(value: str | None) -> str:
    """Write text as an SQL literal."""
    return "NULL::VARCHAR" if value is None else "'" + value.replace("'", "''") + "'"


def rates(cost: Cost, price_set: str | None = None, relation: str = "completions", *, tells_batch: bool = False) -> str:
    """Return the query of all rates for what ``relation`` holds; of the newest price set, or of the one named.

    The owner's own prices win. ``…_list_rate`` is before discounts. ``tells_batch``: the relation knows of batches
    also where the owner has no rule for them.
    """
    newest = f"(SELECT max(price_set) FROM prices WHERE price_set <> {text(OWN)})"
    batches = "(false), (true)" if cost.batch or tells_batch else "(false)"
    return f"""
        WITH asked AS (
            SELECT * FROM prices WHERE price_set IN ({text(OWN)}, {text(price_set) if price_set else newest})
        ), {_WIDE}, {_named(cost, relation)}, layers AS (
            SELECT matched.*, is_batch, tier, tier <> 'standard' OR is_standard AS is_tier_known,
                2 * (price_set <> {text(OWN)})::INTEGER + (tier = 'standard')::INTEGER AS rank
            FROM (SELECT *, lower(tier_asked) IN ('', 'default', 'standard') AS is_standard FROM matched) AS matched
            CROSS JOIN (VALUES {batches}) AS batch(is_batch)
            CROSS JOIN (SELECT DISTINCT tier FROM asked)
            WHERE tier = 'standard' OR tier = CASE
                WHEN is_batch THEN 'batch' WHEN lower(tier_asked) = 'fast' THEN 'priority' ELSE lower(tier_asked)
            END
        ), covers AS (
            SELECT DISTINCT {_COMBINATION}, rank, valid_from, valid_to
            FROM layers JOIN wide USING (price_set, priced_as, tier)
        ), cuts AS (
            SELECT {_COMBINATION}, valid_from AS edge FROM covers UNION SELECT {_COMBINATION}, valid_to FROM covers
        ), spans AS (
            SELECT {_COMBINATION}, edge AS span_from,
                lead(edge) OVER (PARTITION BY {_COMBINATION} ORDER BY edge) AS span_to
            FROM cuts
        ), chosen AS (
            SELECT {_COMBINATION}, span_from, span_to, min(rank) AS rank FROM spans JOIN covers USING ({_COMBINATION})
            WHERE valid_from <= span_from AND valid_to >= span_to GROUP BY ALL
        )
        SELECT {_COMBINATION}, span_from AS valid_from, span_to AS valid_to, above_tokens, up_to_tokens, is_long,
            price_set, priced_as, tier, is_tier_known AND NOT is_batch OR tier = 'batch' AS is_tier_known, is_prefix,
            known_from,
            {", ".join(f"round({unit} / 1000000 * {_share(cost)}, 15)::{RATE} AS {unit}_rate" for unit in UNITS)},
            {", ".join(f"round({unit} / 1000000, 15)::{RATE} AS {unit}_list_rate" for unit in UNITS)}
        FROM chosen JOIN layers USING ({_COMBINATION}, rank) JOIN wide USING (price_set, priced_as, tier)
        WHERE wide.valid_from <= span_from AND wide.valid_to >= span_to
    """


#: What a completion finds its rates by.
_COMBINATION = "source, model, tier_asked, is_batch"
_UNITS = ", ".join(f"arg_max(usd_per_mtok, asked.above_tokens) FILTER (unit = '{unit}') AS {unit}" for unit in UNITS)
#: Each model's and tier's prices, cut where one begins or ends, and at each threshold: a row for each piece.
#: lead() has no default of its own: DuckDB 2 would write that into the view in a way that no DuckDB 1 reads.
_WIDE = f"""
    edges AS (
        SELECT price_set, model, tier, coalesce(valid_from, {FIRST}) AS edge FROM asked
        UNION SELECT price_set, model, tier, coalesce(valid_to, {LAST}) FROM asked
    ), periods AS (
        SELECT price_set, model, tier, edge AS valid_from,
            lead(edge) OVER (PARTITION BY price_set, model, tier ORDER BY edge) AS valid_to
        FROM edges
    ), thresholds AS (
        SELECT price_set, model, tier, above_tokens,
            coalesce(lead(above_tokens) OVER (PARTITION BY price_set, model, tier ORDER BY above_tokens), {MOST_TOKENS})
                AS up_to_tokens
        FROM (SELECT DISTINCT price_set, model, tier, above_tokens FROM asked)
    ), wide AS (
        SELECT price_set, model AS priced_as, tier, periods.valid_from, periods.valid_to,
            CASE WHEN thresholds.above_tokens = 0 THEN -1 ELSE thresholds.above_tokens END AS above_tokens,
            up_to_tokens, thresholds.above_tokens > 0 AS is_long, max(known_from) AS known_from, {_UNITS}
        FROM periods JOIN thresholds USING (price_set, model, tier) JOIN asked USING (price_set, model, tier)
        WHERE coalesce(asked.valid_from, {FIRST}) <= periods.valid_from
            AND coalesce(asked.valid_to, {LAST}) >= periods.valid_to
            AND asked.above_tokens <= thresholds.above_tokens
        GROUP BY price_set, model, tier, periods.valid_from, periods.valid_to, thresholds.above_tokens, up_to_tokens
        HAVING input IS NOT NULL
    )
"""


def _named(cost: Cost, relation: str) -> str:
    """Give each model that was seen the best name that prices are told for, of the owner's and of those shipped."""
    undated = r"regexp_replace(name, '-\d{4}-\d{2}-\d{2}$', '')"
    return f"""
        named AS (
            SELECT source, seen.model, tier_asked, lower(coalesce(deployments.model, seen.model)) AS name
            FROM (
                SELECT DISTINCT source, model, coalesce(service_tier, '') AS tier_asked FROM {relation}
                WHERE model IS NOT NULL
            ) AS seen
            LEFT JOIN ({_deployments(cost)}) AS deployments ON deployments.deployment = seen.model
        ), matched AS (
            SELECT source, named.model, tier_asked, price_set, asked.model AS priced_as,
                match = 'prefix' OR asked.model <> name AS is_prefix
            FROM named JOIN (SELECT DISTINCT price_set, model, match FROM asked) AS asked
            ON (match = 'exact' AND asked.model IN (name, {undated}))
                OR (match = 'prefix' AND starts_with(name, asked.model))
            QUALIFY row_number() OVER (
                PARTITION BY source, named.model, tier_asked, price_set = {text(OWN)}
                ORDER BY is_prefix, length(priced_as) DESC
            ) = 1
        )
    """


def _deployments(cost: Cost) -> str:
    rows = [f"({text(name)}, {text(model)})" for name, model in sorted(cost.deployments.items())]
    listed = ", ".join(rows) or "(NULL::VARCHAR, NULL::VARCHAR)"
    return f"SELECT * FROM (VALUES {listed}) AS known(deployment, model)"


def _share(cost: Cost) -> str:
    """Return what is left of a price after the first discount that fits; the owner's own prices are net already."""
    cases = [
        f"WHEN {' AND '.join([f'price_set <> {text(OWN)}', *wanted])} THEN {1 - discount.percent / 100}"
        for discount in cost.discounts
        for wanted in [_fits(discount.source, discount.model)]
    ]
    return f"(CASE {' '.join(cases)} ELSE 1 END)" if cases else "1"


def _fits(source: str | None, model: str | None) -> list[str]:
    wanted = [f"source = {text(source)}"] if source else []
    return wanted + ([f"starts_with(lower(model), {text(model.lower())})"] if model else [])
