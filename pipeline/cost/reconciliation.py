"""What was billed beside what we estimate, by UTC day, source and model, and why the two differ, as SQL; pure.

    difference = billed - estimate = the sum of all classes, to the last decimal, by construction

The classes are worked out one after the other, each a step from the estimate towards the bill; the last is the rest:

    cached_share       what is held, with the cached tokens that it had, less what it was priced with
    not_stored         tokens of Usage less those held, at standard rates; negative where more is held than used, as at
                       the edges of days: a call counts there when it was billed, here when it was created
    unpriced           its part that falls on requests that are held and have no price, by their number; and all that
                       was billed of a model without a price
    tier               Usage at the rates of its tiers less at standard rates, less the same of what is held
    batch              Usage at batch rates less at the rates of its tiers, less the same of what is held
    other_line_items   what was billed besides text tokens of a model that is used or held, less our own price of audio
    price_difference   amounts of the bill less its quantities at our rates, tiers, batch and long prompts included
    not_explained      what is left: the bill counts other tokens than Usage, or does not say how many

Tokens held are those of priced completions, by class; a completion whose cached share is not told has as many cached
tokens as its price was made with: none, or the share of Usage. How many it had is told by Usage, else by the bill: the
share where nothing was told, and then what the requests that are not held leave no room for. Where Usage is not held
for a day, the quantities of the bill stand for it; where that tells none either, tokens are taken for equal, and
cached_share is what of the difference lies within the bounds of the estimate. Tiers and batches that Usage does not
tell apart are taken to be as held. A day without Costs is not compared: it has no amounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost.pricing import MONEY, TOKENS, grouped
from pipeline.cost.rates import RATE, rates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.cost.settings import Cost

#: The classes of the difference, in the order told.
CLASSES = (
    "not_stored",
    "other_line_items",
    "cached_share",
    "tier",
    "batch",
    "unpriced",
    "price_difference",
    "not_explained",
)
MEANING = """What was billed beside the estimate, in US dollars by UTC day, source and model, how much of what was used
    is held, and the difference between the two split into classes that sum to it. A row without a model is what was
    billed besides text tokens of a model. cached_share_applied is how much the cached share from Usage has already
    lowered the estimate. Amounts are NULL for days without Costs, and what was used for days without Usage."""
UNITS = ("input", "cached_input", "cache_write", "output")
#: Columns of the view that may be summed.
SUMMED = (
    "requests_held",
    "requests_used",
    "tokens_held",
    "tokens_used",
    "unpriced_requests",
    "estimate_min",
    "estimate",
    "cached_share_applied",
    "billed",
    "difference",
    *CLASSES,
)
_KEYS = "day, source, model"
#: The steps at which tokens are priced, from what anybody pays to what is theirs: (tier asked, batch).
_STEPS = {"std": ("''", "false"), "tier": ("tier", "false"), "own": ("tier", "batch")}
#: Tokens as the bill counts them.
_COUNT = "DECIMAL(38, 3)"
#: Words of a line item's unit that say nothing about what is counted.
_NOISE = ("", "tokens", "token", "text", "batch", "flex", "priority", "standard", "default")


def reconciliation(cost: Cost) -> str:
    """Return the query of the view."""
    return f"""
        WITH held AS MATERIALIZED (
            {_held(cost)}
        ), used AS MATERIALIZED (
            {_USED}
        ), seen AS (
            SELECT DISTINCT source, model FROM (SELECT source, model FROM held UNION SELECT source, model FROM used)
            WHERE model IS NOT NULL
        ), served AS (
            SELECT source, model, tier AS service_tier FROM held UNION SELECT source, model, tier FROM used
            UNION SELECT source, model, '' FROM seen
        ), known AS MATERIALIZED (
            SELECT source, model, tier_asked, is_batch, valid_from, valid_to, {_listed(_known(unit) for unit in UNITS)}
            FROM ({rates(cost, relation="served", tells_batch=True)}) WHERE NOT is_long
        ), billed AS (
            {_BILLED}
        ), days AS (
            SELECT source, created_date AS day, bool_or(is_usage) AS has_usage, bool_or(NOT is_usage) AS has_costs
            FROM (SELECT source, created_date, true AS is_usage FROM organization_usage
                UNION ALL SELECT source, created_date, false FROM organization_costs) GROUP BY ALL
        ), told AS (
            {_of_held()} UNION ALL BY NAME {_of_used()} UNION ALL BY NAME {_of_billed()}
        ), sums AS (
            SELECT {_KEYS}, {_listed(f"coalesce(sum({name}), 0)::{kind} AS {name}" for name, kind in _NUMBERS.items())},
                {_listed(f"bool_and({name}) AS all_{name}" for name in (*_TELLS, "is_counted"))}
            FROM told GROUP BY ALL
        ), joined AS (
            SELECT sums.*, {_listed(f"coalesce(all_{name}, days.has_usage, false) AS {name}" for name in _TELLS)},
                coalesce(all_is_counted, false) AS is_counted, all_is_counted IS NOT NULL AS has_lines,
                coalesce(days.has_usage, false) AS has_usage, coalesce(days.has_costs, false) AS has_costs,
                standard.input IS NOT NULL AS has_rates,
                {_listed(f"coalesce(standard.{unit}, 0) AS rate_{unit}" for unit in UNITS)}
            FROM sums LEFT JOIN days ON days.source = sums.source AND days.day = sums.day
            LEFT JOIN known AS standard ON {_rate_of("sums", "standard", "''", "false")}
        ), {_STEPWISE}
        SELECT {_KEYS}, requests_held, requests_used,
            round(100 * requests_held / nullif(requests_used, 0), 2) AS requests_coverage, tokens_held, tokens_used,
            round(100 * tokens_held / nullif(tokens_used, 0), 2) AS tokens_coverage, unpriced_requests, estimate_min,
            estimate, cached_share_applied, billed, difference, {", ".join(CLASSES)}
        FROM split
    """


def totals(by: Iterable[str], condition: str = "true") -> str:
    """Return the query that sums the view by some of its keys, and over all, of the rows for which a condition holds.

    The sum over all comes last; ``is_total`` tells it apart.
    """
    keys = list(by)
    sums = ", ".join(f"sum({name}) AS {name}" for name in SUMMED)
    sets = f"({_listed(keys)}), ()" if keys else "()"
    return f"""
        SELECT {_listed([*keys, sums])},
            round(100 * sum(requests_held) FILTER (requests_used IS NOT NULL) / nullif(sum(requests_used), 0), 2)
                AS requests_coverage,
            round(100 * sum(tokens_held) FILTER (tokens_used IS NOT NULL) / nullif(sum(tokens_used), 0), 2)
                AS tokens_coverage,
            coalesce(sum(estimate) FILTER (billed IS NULL), 0) AS not_compared,
            count(DISTINCT day) FILTER (billed IS NULL) AS days_not_compared,
            {f"grouping({keys[0]}) = 1" if keys else "true"} AS is_total
        FROM reconciliation WHERE {condition} GROUP BY GROUPING SETS ({sets}) ORDER BY {_listed(["is_total", *keys])}
    """


def foreign(condition: str = "true") -> str:
    """Return the query that counts line items in another currency: they are in no sum."""
    return f"""
        SELECT count(*) FROM (SELECT created_date AS day, * FROM organization_costs)
        WHERE lower(currency) <> 'usd' AND {condition}
    """


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


# -- the three sides ---------------------------------------------------------------------------------------------------


def _held(cost: Cost) -> str:
    """Sum what is held by how it is priced; ``assumed`` are the cached tokens that an estimated share stands for."""
    return f"""
        SELECT *, created_date AS day, coalesce(service_tier, '') AS tier, is_batch AS batch,
            CASE WHEN is_cached_share_estimated THEN round(input_tokens * cached_share) ELSE 0 END::{TOKENS} AS assumed
        FROM ({grouped(cost, {})})
    """


#: Usage by what it is priced by; text tokens by class, audio left to its own line items.
_USED = f"""
    SELECT created_date AS day, source, model, coalesce(service_tier, '') AS tier, coalesce(batch, false) AS batch,
        bool_and(input_cached_tokens IS NOT NULL) AS tells_cached, bool_and(service_tier IS NOT NULL) AS tells_tier,
        bool_and(batch IS NOT NULL) AS tells_batch, coalesce(sum(num_model_requests), 0) AS requests,
        coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0) AS tokens,
        coalesce(sum(input_cached_tokens), 0)::{TOKENS} AS cached_input_tokens,
        coalesce(sum(input_cache_write_tokens), 0)::{TOKENS} AS cache_write_tokens,
        (coalesce(sum(input_tokens), 0) - coalesce(sum(input_audio_tokens), 0))::{TOKENS}
            - cached_input_tokens - cache_write_tokens AS input_tokens,
        (coalesce(sum(output_tokens), 0) - coalesce(sum(output_audio_tokens), 0))::{TOKENS} AS output_tokens
    FROM organization_usage WHERE "index" IS NOT NULL GROUP BY ALL
"""
_WORDS = "string_split_regex(lower(coalesce(regexp_extract(line_item, '^.*,(.*)$', 1), '')), '[^a-z]+')"
#: Line items: of which model and class of text tokens; without a model whatever else was billed.
_BILLED = f"""
    SELECT lines.day, lines.source, seen.model, amount, unit,
        CASE WHEN unit IS NULL THEN NULL
            WHEN coalesce(quantity_unit, 'tokens') = 'tokens' THEN quantity
            WHEN quantity_unit = '1000_tokens' THEN quantity * 1000 END::{_COUNT} AS quantity,
        unit IS NOT NULL OR line_item = named AS is_text
    FROM (
        SELECT created_date AS day, source, line_item, coalesce(amount, 0) AS amount, quantity, quantity_unit,
            CASE array_to_string(list_sort(list_filter({_WORDS}, lambda word: word NOT IN {_NOISE})), ' ')
                WHEN 'input' THEN 'input'
                WHEN 'cached input' THEN 'cached_input' WHEN 'cached' THEN 'cached_input'
                WHEN 'cache write' THEN 'cache_write' WHEN 'cache input write' THEN 'cache_write'
                WHEN 'output' THEN 'output' END AS unit,
            trim(CASE WHEN contains(line_item, ',') THEN regexp_extract(line_item, '^(.*),.*$', 1) ELSE line_item END)
                AS named
        FROM organization_costs WHERE "index" IS NOT NULL AND lower(coalesce(currency, 'usd')) = 'usd'
    ) AS lines LEFT JOIN (SELECT source, lower(model) AS name, min(model) AS model FROM seen GROUP BY ALL) AS seen
    ON seen.source = lines.source AND seen.name = lower(named)
"""


def _known(unit: str) -> str:
    other = {"input": "NULL", "output": "0"}.get(unit, "input_rate")
    return f"coalesce({unit}_rate, {other})::{RATE} AS {unit}"


def _rate_of(side: str, alias: str, tier: str, batch: str) -> str:
    """Return the condition that finds the rates of a row of one side."""
    return (
        f"{alias}.source = {side}.source AND {alias}.model = {side}.model AND {alias}.tier_asked = {tier} "
        f"AND {alias}.is_batch = {batch} AND {side}.day >= {alias}.valid_from AND {side}.day < {alias}.valid_to"
    )


def _joins(side: str) -> str:
    """Find the rates of one side at each step."""
    return " ".join(
        f"LEFT JOIN known AS {step} ON {_rate_of(side, step, *(_of(side, name) for name in names))}"
        for step, names in _STEPS.items()
    )


def _of(side: str, name: str) -> str:
    return f"{side}.{name}" if name in {"tier", "batch"} else name


def _amounts(tokens: dict[str, str], prefix: str) -> str:
    """Price tokens of each class at each step."""
    return _listed(
        f"(({expression}) * coalesce({step}.{unit}, 0))::{MONEY} AS {prefix}_{step}_{unit}"
        for unit, expression in tokens.items()
        for step in _STEPS
    )


def _of_held() -> str:
    tokens = {
        "input": "coalesce(input_tokens, 0) - assumed",
        "cached_input": "coalesce(cached_input_tokens, 0) + assumed",
        "cache_write": "coalesce(cache_write_tokens, 0)",
        "output": "coalesce(output_tokens, 0)",
    }
    costs = {
        "input": "(input_tokens - assumed) * full_input_rate",
        "cached_input": "cached_input_cost + (assumed * used_cached_input_rate)",
        "cache_write": "cache_write_cost",
        "output": "output_cost",
    }
    return f"""
        SELECT held.day, held.source, held.model, requests AS held_requests,
            coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0) AS held_tokens,
            CASE WHEN unpriced_because IS NOT NULL THEN requests ELSE 0 END AS no_price,
            coalesce(cost, 0) AS cost, coalesce(cost_min, 0) AS cost_min,
            coalesce(audio_input_cost + audio_output_cost, 0) AS audio_cost,
            CASE WHEN is_cached_share_estimated
                THEN (input_tokens * (full_input_rate - used_input_rate)::{RATE})::{MONEY} ELSE 0 END AS applied,
            CASE WHEN is_cached_share_estimated OR is_cached_share_unknown
                THEN input_tokens - assumed ELSE 0 END AS movable,
            CASE WHEN is_cached_share_unknown THEN input_tokens ELSE 0 END AS unknown, assumed,
            {_listed(f"{expression} AS held_{unit}" for unit, expression in tokens.items())},
            {_listed(f"coalesce({expression}, 0)::{MONEY} AS cost_{unit}" for unit, expression in costs.items())},
            {_amounts(tokens, "held")}
        FROM held {_joins("held")}
    """


def _of_used() -> str:
    tokens = {unit: f"used.{unit}_tokens" for unit in UNITS}
    return f"""
        SELECT used.day, used.source, used.model, requests AS used_requests, tokens AS used_tokens, tells_cached,
            tells_tier, tells_batch, {_listed(f"{tokens[unit]} AS used_{unit}" for unit in UNITS)},
            {_amounts(tokens, "used")}
        FROM used {_joins("used")}
    """


def _of_billed() -> str:
    """Sum line items; ``is_counted`` is false where text tokens were billed without saying how many."""
    is_ours = "model IS NOT NULL AND is_text"
    amounts = _listed(f"sum(amount) FILTER ({is_ours} AND unit = '{unit}') AS amount_{unit}" for unit in UNITS)
    counts = _listed(f"sum(quantity) FILTER ({is_ours} AND unit = '{unit}') AS count_{unit}" for unit in UNITS)
    return f"""
        SELECT day, source, model, sum(amount) AS amount, sum(amount) FILTER (NOT ({is_ours})) AS other_amount,
            bool_and(quantity IS NOT NULL) FILTER ({is_ours}) AS is_counted, {amounts}, {counts}
        FROM billed GROUP BY ALL
    """


_TELLS = ("tells_cached", "tells_tier", "tells_batch")
#: Everything that the sides tell and that is summed, with its type.
_NUMBERS = {
    **dict.fromkeys(("held_requests", "held_tokens", "no_price", "used_requests", "used_tokens"), "HUGEINT"),
    **dict.fromkeys(("movable", "unknown", "assumed"), TOKENS),
    **dict.fromkeys(("cost", "cost_min", "audio_cost", "applied", "amount", "other_amount"), MONEY),
    **{f"{side}_{unit}": TOKENS for side in ("held", "used") for unit in UNITS},
    **{f"{name}_{unit}": MONEY for name in ("cost", "amount") for unit in UNITS},
    **{f"count_{unit}": _COUNT for unit in UNITS},
    **{f"{side}_{step}_{unit}": MONEY for side in ("held", "used") for step in _STEPS for unit in UNITS},
}


# -- step by step --------------------------------------------------------------------------------------------------


def _plus(names: Iterable[str]) -> str:
    return f"({' + '.join(names)})"


def _every(pattern: str) -> str:
    return _plus(pattern.format(unit) for unit in UNITS)


def _effect(kind: str, upper: str, lower: str, unit: str) -> str:
    """Price one class of tokens at one step less at the one before; what Usage does not tell is as held."""
    held = f"(held_{upper}_{unit} - held_{lower}_{unit})"
    return f"(CASE WHEN is_as_held OR NOT tells_{kind} THEN {held} ELSE used_{upper}_{unit} - used_{lower}_{unit} END)"


def _less_held(kind: str, upper: str, lower: str) -> str:
    used = _plus(_effect(kind, upper, lower, unit) for unit in UNITS)
    return f"{used} - ({_every(f'held_{upper}_{{}}')} - {_every(f'held_{lower}_{{}}')})"


_INPUTS = ("input", "cached_input", "cache_write")
#: The price of a quantity of the bill at our rates: Usage at its own, what the bill counts more or less at standard.
_EXPECTED = {
    unit: f"(wanted_{unit} * rate_{unit} + {_effect('tier', 'tier', 'std', unit)}"
    f" + {_effect('batch', 'own', 'tier', unit)} + cost_{unit} - held_own_{unit}"
    f" + (count_{unit} - wanted_{unit})::DECIMAL(20, 3) * rate_{unit})::{MONEY}"
    for unit in UNITS
}
_MOVED = {"input": "+ moved", "cached_input": "- moved"}
_STEPWISE = f"""
        truth AS (
            SELECT *, amount - other_amount AS text_amount,
                NOT has_usage AND NOT is_counted AS is_as_held, NOT has_usage AND is_counted AS is_by_bill,
                CASE WHEN is_by_bill THEN count_input + count_cached_input + count_cache_write
                    WHEN is_as_held THEN {_plus(f"held_{unit}" for unit in _INPUTS)}
                    ELSE {_plus(f"used_{unit}" for unit in _INPUTS)} END::{TOKENS} AS true_input,
                CASE WHEN is_by_bill THEN count_cache_write WHEN is_as_held THEN held_cache_write
                    ELSE used_cache_write END::{TOKENS} AS wanted_cache_write,
                CASE WHEN is_by_bill THEN count_output WHEN is_as_held THEN held_output
                    ELSE used_output END::{TOKENS} AS wanted_output,
                is_counted AND (is_by_bill OR NOT tells_cached) AND count_input + count_cached_input > 0
                    AS is_cached_billed,
                tells_cached OR is_cached_billed AS is_cached_known,
                least(CASE WHEN is_cached_billed THEN count_cached_input WHEN is_cached_known THEN used_cached_input
                    ELSE held_cached_input END::{TOKENS}, true_input - wanted_cache_write) AS wanted_cached_input,
                true_input - wanted_cache_write - wanted_cached_input AS wanted_input,
                {_plus(f"held_{unit}" for unit in _INPUTS)} AS held_all_input
            FROM joined
        ), shared AS (
            SELECT *, CASE WHEN is_cached_billed AND true_input > 0
                    THEN (unknown::HUGEINT * wanted_cached_input::HUGEINT // true_input::HUGEINT)::{TOKENS}
                    ELSE 0 END AS by_share,
                (true_input - held_all_input)::{TOKENS} AS gap,
                (wanted_cached_input - held_cached_input - by_share)::{TOKENS} AS cached_gap,
                greatest(-assumed, least(movable, CASE WHEN NOT is_cached_known THEN 0
                    ELSE by_share + greatest(cached_gap - greatest(gap, 0), 0) + least(cached_gap - least(gap, 0), 0)
                    END))::{TOKENS} AS moved
            FROM truth
        ), lacking AS (
            SELECT *, greatest(used_requests - held_requests + no_price, no_price) AS missing,
                {
    _listed(f"(wanted_{unit} - held_{unit} {_MOVED.get(unit, '')})::{TOKENS} AS lack_{unit}" for unit in UNITS)
}
            FROM shared
        ), steps AS (
            SELECT *, (moved * (rate_input - rate_cached_input)::{RATE})::{MONEY} AS moved_amount,
                {_every("(lack_{0} * rate_{0})")}::{MONEY} AS lack_amount,
                CASE WHEN no_price > 0 THEN {
    _every(f"((lack_{{0}}::HUGEINT * no_price // missing)::{TOKENS} * rate_{{0}})")
}
                    ELSE 0 END::{MONEY} AS lack_unpriced,
                ({_every("cost_{}")} - (cost - audio_cost))::{MONEY} AS rounding,
                ({_less_held("tier", "tier", "std")})::{MONEY} AS tier_amount,
                ({_less_held("batch", "own", "tier")})::{MONEY} AS batch_amount,
                {_plus(f"(amount_{unit} - {expected})" for unit, expected in _EXPECTED.items())}::{
    MONEY
} AS priced_apart
            FROM lacking
        ), rest AS (
            SELECT *, (text_amount - (cost - audio_cost) - rounding + moved_amount - lack_amount - tier_amount
                - batch_amount)::{MONEY} AS left_over,
                CASE WHEN has_rates AND has_lines AND NOT is_cached_known
                    THEN least(0, greatest(left_over, cost_min - cost)) ELSE 0 END::{MONEY} AS within_bounds
            FROM steps
        ), split AS (
            SELECT {_KEYS}, held_requests AS requests_held, CASE WHEN has_usage THEN used_requests END AS requests_used,
                held_tokens AS tokens_held, CASE WHEN has_usage THEN used_tokens END AS tokens_used,
                no_price AS unpriced_requests, cost_min AS estimate_min, cost AS estimate,
                applied AS cached_share_applied, CASE WHEN has_costs THEN amount END AS billed,
                billed - cost AS difference,
                CASE WHEN has_costs THEN CASE WHEN has_rates THEN lack_amount - lack_unpriced ELSE 0 END END
                    AS not_stored,
                CASE WHEN has_costs THEN other_amount - audio_cost END AS other_line_items,
                CASE WHEN has_costs THEN CASE WHEN has_rates THEN rounding - moved_amount + within_bounds ELSE 0 END END
                    AS cached_share,
                CASE WHEN has_costs THEN CASE WHEN has_rates THEN tier_amount ELSE 0 END END AS tier,
                CASE WHEN has_costs THEN CASE WHEN has_rates THEN batch_amount ELSE 0 END END AS batch,
                CASE WHEN has_costs THEN CASE WHEN has_rates THEN lack_unpriced ELSE text_amount END END AS unpriced,
                CASE WHEN has_costs THEN CASE WHEN has_rates AND is_counted THEN priced_apart ELSE 0 END END
                    AS price_difference,
                difference - not_stored - other_line_items - cached_share - tier - batch - unpriced - price_difference
                    AS not_explained
            FROM rest
        )
"""
