"""The cost views of the snapshot, usable from any notebook without this program; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cost import reconciliation
from pipeline.cost.pricing import CLASSES, MONEY, REASONS, basis, grouped, priced
from pipeline.cost.rates import RATE

if TYPE_CHECKING:
    from pipeline.cost.settings import Cost

#: What stands for completions without a metadata key.
NONE = "(none)"
_COMPLETION = """
    source, id AS completion_id, created, created_unix, created_date, model, priced_as, price_set, service_tier,
    billed_tier, is_batch, is_long_context, prompt_tokens, completion_tokens, total_tokens
"""
_FLAGS = ", ".join(REASONS)
#: Sums over completions; tokens and requests without a price are told apart, never as zero.
SUMS = f"""
    count(*) AS requests,
    sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens,
    sum(cost_min)::{MONEY} AS cost_min,
    sum(cost)::{MONEY} AS cost,
    count(unpriced_because) AS unpriced_requests,
    coalesce(sum(coalesce(prompt_tokens, 0)::HUGEINT + coalesce(completion_tokens, 0))
        FILTER (unpriced_because IS NOT NULL), 0) AS unpriced_tokens
"""
#: The same by name, over groups of completions that were priced together.
TOTALS = {
    "requests": "sum(requests)::BIGINT",
    "prompt_tokens": "coalesce(sum(prompt_tokens), 0)",
    "completion_tokens": "coalesce(sum(completion_tokens), 0)",
    "cost_min": f"sum(cost_min)::{MONEY}",
    "cost": f"sum(cost)::{MONEY}",
    "unpriced_requests": "coalesce(sum(requests) FILTER (unpriced_because IS NOT NULL), 0)::BIGINT",
    "unpriced_tokens": """coalesce(sum(coalesce(prompt_tokens, 0)::HUGEINT + coalesce(completion_tokens, 0))
            FILTER (unpriced_because IS NOT NULL), 0)""",
}
_SUMMED = ", ".join(f"{expression} AS {name}" for name, expression in TOTALS.items())


_MEANINGS = {
    "cost_by_completion": """One row per completion: its cost in US dollars, no more than cost and no less than
        cost_min, by class of tokens, and what that rests on (basis). NULL where it is unpriced, with why. A _rate is
        US dollars per token, a _list_rate that before discounts.""",
    "cost_daily": """Tokens and cost in US dollars by UTC day, source, model, tier and class of tokens. requests stands
        on each class of the same completions, so it does not add up over classes. Unpriced tokens have no cost.""",
    "cost_by_metadata": """Cost in US dollars by UTC month, source, metadata key and value; the value '(none)' is what
        has not the key, and share_of_requests is a row's part of the month's requests of the source.""",
}


def views(cost: Cost) -> dict[str, tuple[str, str]]:
    """Return by name what each view shows, and its query."""
    return {
        "cost_by_completion": (_said("cost_by_completion"), by_completion(cost)),
        "cost_daily": (_said("cost_daily"), _daily(cost)),
        "cost_by_metadata": (_said("cost_by_metadata"), _by_metadata(cost)),
        "reconciliation": (" ".join(reconciliation.MEANING.split()), reconciliation.reconciliation(cost)),
    }


def _said(name: str) -> str:
    return " ".join(_MEANINGS[name].split())


def by_completion(cost: Cost, price_set: str | None = None) -> str:
    """Return the query of ``cost_by_completion``; with a price set, as it was reported then."""
    classes = ", ".join(f"{name}_tokens, {name}_cost" for name in CLASSES)
    rates = ", ".join(_rates(name) for name in CLASSES)
    return f"""
        SELECT {_COMPLETION}, {classes}, cost_min, cost, {basis()} AS basis, unpriced_because, {_FLAGS},
            metadata, gone_at, above_tokens, {rates}
        FROM ({priced(cost, price_set)})
    """


def _rates(name: str) -> str:
    """Show a class's rate, after and before discounts, where there is one."""
    before = f"used_{name}_list_rate"
    after = f"CASE WHEN {before} IS NOT NULL THEN used_{name}_rate END"
    return f"({after})::{RATE} AS {name}_rate, {before} AS {name}_list_rate"


def _class_line(name: str) -> str:
    """Return one class of tokens as a row; what is unpriced counts as plain input and output, without a cost."""
    unpriced = {"input": "unpriced_prompt_tokens", "output": "unpriced_completion_tokens"}.get(name)
    tokens = f"coalesce({name}_tokens, {unpriced})" if unpriced else f"{name}_tokens"
    least = f"{name}_cost - spread" if name == "input" else f"{name}_cost"
    return (
        f"{{'token_class': '{name}', 'tokens': {tokens}::HUGEINT, "
        f"'cost_min': ({least})::{MONEY}, 'cost': {name}_cost::{MONEY}}}"
    )


def _daily(cost: Cost) -> str:
    """Sum first, then turn columns into rows: a fifth of the work."""
    return f"""
        WITH sums AS (
            SELECT created_date AS day, source, model, service_tier, billed_tier, unpriced_because, {_FLAGS},
                sum(requests)::BIGINT AS requests, sum(cost - cost_min) AS spread,
                sum(prompt_tokens) FILTER (unpriced_because IS NOT NULL) AS unpriced_prompt_tokens,
                sum(completion_tokens) FILTER (unpriced_because IS NOT NULL) AS unpriced_completion_tokens,
                {", ".join(f"sum({name}_tokens) AS {name}_tokens" for name in CLASSES)},
                {", ".join(f"sum({name}_cost) AS {name}_cost" for name in CLASSES)}
            FROM ({grouped(cost, {})}) GROUP BY ALL
        )
        SELECT day, source, model, service_tier, billed_tier, one.token_class, basis, requests, one.tokens,
            one.cost_min, one.cost
        FROM (
            SELECT *, {basis()} AS basis, unnest([{", ".join(_class_line(name) for name in CLASSES)}]) AS one FROM sums
        ) WHERE one.tokens <> 0 OR one.token_class = 'input'
    """


def _by_metadata(cost: Cost) -> str:
    tags = "(SELECT *, unnest(map_entries(metadata)) AS tag FROM completions)"
    month = "date_trunc('month', created_date)::DATE"
    rest = ", ".join(f"whole.{name} - coalesce(keyed.{name}, 0)" for name in TOTALS)
    return f"""
        WITH whole AS (
            SELECT {month} AS month, source, {_SUMMED} FROM ({grouped(cost, {})}) GROUP BY ALL
        ), tagged AS (
            SELECT {month} AS month, source, key, value, {_SUMMED}
            FROM ({grouped(cost, {"key": "tag.key", "value": "tag.value"}, relation=tags)}) GROUP BY ALL
        ), keyed AS (
            SELECT month, source, key, {", ".join(f"sum({name}) AS {name}" for name in TOTALS)}
            FROM tagged GROUP BY month, source, key
        ), every AS (
            SELECT month, source, key, value, true AS is_tagged, {", ".join(TOTALS)} FROM tagged
            UNION ALL
            SELECT month, source, key, '{NONE}', false, {rest}
            FROM keyed JOIN whole USING (month, source) WHERE whole.requests > keyed.requests
        )
        SELECT every.*, every.requests / whole.requests AS share_of_requests
        FROM every JOIN whole USING (month, source)
    """
