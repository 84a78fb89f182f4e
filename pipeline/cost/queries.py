"""The questions of the report, over priced completions (``costs``); pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pipeline.cost.pricing import CLASSES, MONEY
from pipeline.cost.query import VIEW, Asked, Query, written
from pipeline.cost.question import OTHER
from pipeline.cost.rates import text
from pipeline.cost.views import NONE, TOTALS

if TYPE_CHECKING:
    from pipeline.cost.period import Period

#: Groups told apart, of models, tiers and metadata values; the rest is one more.
TOP = 10
#: Letters of what was asked and answered that are shown where content is asked for.
EXCERPT = 160
_SUMS = ",\n    ".join(f"{' '.join(expression.split())} AS {name}" for name, expression in TOTALS.items())
_ADDED = ",\n    ".join(f"sum({name}) AS {name}" for name in (*TOTALS, "previous_cost"))
MODEL = f"coalesce(model, '{NONE}')"
TIER = f"coalesce(service_tier, '{NONE}')"


def total() -> Query:
    """Ask for the sums over everything, and what the period before cost."""
    return Query(
        f"SELECT {_SUMS},\n    (SELECT sum(cost)::{MONEY} FROM costs_before) AS previous_cost\nFROM costs",
        is_comparing=True,
    )


def first_days(period: Period) -> Query:
    """Ask for the sums over the first days of the period."""
    return Query(f"SELECT {_SUMS}\nFROM costs\nWHERE day < DATE '{period.until}'")


def first_days_before(period: Period) -> Query:
    """Ask for the sums over the first days of the period before."""
    return Query(f"SELECT {_SUMS}\nFROM costs_before\nWHERE day < DATE '{period.until}'", is_comparing=True)


def by(key: str) -> Query:
    """Ask for the sums by an expression: the highest each and the rest as one, beside the period before."""
    return _ranked(key)


def by_metadata(key: str) -> Query:
    """Ask for the sums by the values of a metadata key."""
    return _ranked("value", {"value": f"coalesce(metadata[{_literal(key)}], '{NONE}')"})


def _ranked(key: str, columns: dict[str, str] | None = None) -> Query:
    """Rank what has no price by its requests, behind all that has."""
    parts = {
        "now": f"    SELECT {key} AS key, {_SUMS}\n    FROM costs GROUP BY 1",
        "before": f"    SELECT {key} AS key, sum(cost)::{MONEY} AS previous_cost FROM costs_before GROUP BY 1",
        "ranked": """    SELECT *, row_number() OVER (
        ORDER BY cost DESC NULLS LAST, requests DESC NULLS LAST, previous_cost DESC NULLS LAST, key
    ) AS rank
    FROM now FULL JOIN before USING (key)""",
    }
    select = f"""
SELECT CASE WHEN rank <= {TOP} THEN key ELSE '{OTHER}' END AS key, {_ADDED}
FROM ranked
GROUP BY 1 ORDER BY min(rank)""".strip()
    return Query(select, parts, columns or {}, is_comparing=True)


def bases() -> Query:
    """Ask what costs rest on; each completion counts once."""
    return Query(f"SELECT basis AS key, {_SUMS}\nFROM costs\nGROUP BY 1 ORDER BY requests DESC, 1")


def over_time(period: Period) -> Query:
    """Ask for the sums over time."""
    return Query(f"SELECT {_step(period)} AS key, {_SUMS}\nFROM costs\nGROUP BY 1 ORDER BY 1")


def over_time_before(period: Period) -> Query:
    """Ask for the sums over the time of the period before."""
    return Query(f"SELECT {_step(period)} AS key, {_SUMS}\nFROM costs_before\nGROUP BY 1 ORDER BY 1", is_comparing=True)


def models_over_time(period: Period, models: tuple[str, ...]) -> Query:
    """Ask for the cost over time of some models, and of all others together."""
    known = ", ".join(map(_literal, models)) or "NULL"
    return Query(
        f"SELECT {_step(period)} AS key, CASE WHEN {MODEL} IN ({known}) THEN {MODEL} ELSE '{OTHER}' END AS model,\n"
        f"    sum(cost)::{MONEY} AS cost\nFROM costs\nGROUP BY 1, 2 ORDER BY 1, 2"
    )


def tokens_over_time(period: Period) -> Query:
    """Ask for the tokens over time by what they cost; those without a price stand beside."""
    plain = "input_tokens + cache_write_tokens + audio_input_tokens"
    return Query(
        f"""
SELECT {_step(period)} AS day,
    {_tokens(plain, "NOT is_cached_share_unknown")} AS input,
    {_tokens(plain, "is_cached_share_unknown")} AS input_or_cached,
    {_tokens("cached_input_tokens", "true")} AS cached_input,
    {_tokens("output_tokens + audio_output_tokens", "true")} AS output,
    {TOTALS["unpriced_tokens"]} AS unpriced
FROM costs
GROUP BY 1 ORDER BY 1""".strip()
    )


def _literal(value: str) -> str:
    """Write text from the data as SQL that cannot steer a page or a terminal: such letters are told by number."""
    parts = ("".join(part) for _, part in groupby(value, str.isprintable))
    written = [text(part) if part.isprintable() else " || ".join(f"chr({ord(one)})" for one in part) for part in parts]
    return f"({' || '.join(written)})" if len(written) > 1 else "".join(written) or "''"


def _step(period: Period) -> str:
    return "day" if period.step == "day" else f"date_trunc('{period.step}', day)::DATE"


def _tokens(expression: str, condition: str) -> str:
    return f"coalesce(sum({expression}) FILTER ({condition}), 0)::HUGEINT"


def classes() -> Query:
    """Ask for tokens and cost by class of tokens; classes are disjoint and sum to the cost."""
    each = ",\n        ".join(_class_line(name) for name in CLASSES)
    return Query(
        f"""
SELECT one.token_class, one.tokens, one.cost_min, one.cost
FROM (
    SELECT unnest([
        {each}
    ]) AS one
    FROM costs
)
WHERE one.tokens > 0
ORDER BY one.cost DESC, one.token_class""".strip()
    )


def _class_line(name: str) -> str:
    """Return the sums of one class; what a cached share could spare, input could."""
    least = f"sum({name}_cost)" + (" - sum(cost - cost_min)" if name == "input" else "")
    return (
        f"{{'token_class': '{name.replace('_', ' ')}', 'tokens': sum({name}_tokens)::HUGEINT, "
        f"'cost_min': ({least})::{MONEY}, 'cost': sum({name}_cost)::{MONEY}}}"
    )


def finish_reasons(period: Period) -> Query:
    """Ask how completions ended; one whose choices ended differently counts once, under all of them."""
    reason = f"coalesce(finish_reason, '{NONE}')"
    ends = f"""
        SELECT source, completion_id, string_agg(DISTINCT {reason}, ', ' ORDER BY {reason}) AS finish_reason
        FROM choices WHERE {period.condition()}
        GROUP BY source, completion_id"""
    select = f"SELECT ended AS key, {_SUMS}\nFROM costs\nGROUP BY 1 ORDER BY requests DESC, 1"
    return Query(select, columns={"ended": reason}, beside=ends.strip("\n"))


def unpriced() -> Query:
    """Ask what has no price, and why; tokens that are not told are NULL."""
    parts = {
        "every": f"""    SELECT unpriced_because, {MODEL} AS model, sum(requests)::BIGINT AS requests,
        sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens
    FROM costs WHERE unpriced_because IS NOT NULL GROUP BY 1, 2""",
        "ranked": """    SELECT *, row_number() OVER (
        ORDER BY prompt_tokens + completion_tokens DESC NULLS LAST, requests DESC, model, unpriced_because
    ) AS rank
    FROM every""",
    }
    select = f"""
SELECT unpriced_because, CASE WHEN rank <= {TOP} THEN model ELSE '{OTHER}' END AS model, sum(requests) AS requests,
    sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens
FROM ranked
GROUP BY 1, 2 ORDER BY min(rank)""".strip()
    return Query(select, parts)


def price_sets() -> Query:
    """Ask which prices were used."""
    name = f"CASE WHEN cost IS NULL THEN '{NONE}' ELSE price_set END"
    return Query(f"SELECT {name} AS key, {_SUMS}\nFROM costs\nGROUP BY 1 ORDER BY requests DESC, 1")


def most_expensive(asked: Asked, *, with_content: bool) -> str:
    """Ask for the completions that cost most; what was said in them only where that is asked for."""
    told = f"""
SELECT completion_id, source, created, model, service_tier, prompt_tokens, completion_tokens, cost_min, cost, basis
FROM {VIEW}
WHERE {asked.period.condition()} AND cost IS NOT NULL
ORDER BY cost DESC, source, completion_id
LIMIT {TOP}""".strip()
    if not with_content:
        return written(asked.view(), told)
    select = f"""
SELECT *, {_excerpt("messages")} AS asked, {_excerpt("choices")} AS answered
FROM told
ORDER BY cost DESC, source, completion_id""".strip()
    return written({**asked.view(), "told": told}, select)


def _excerpt(table: str) -> str:
    """Return the expression for the beginning of what was said last."""
    return f"""(
    SELECT left(max_by(content, "index") FILTER (content IS NOT NULL), {EXCERPT}) FROM {table}
    WHERE {table}.source = told.source AND {table}.completion_id = told.completion_id
)"""


FRESHNESS = "SELECT source, data_through, complete, why_not, ended_at\nFROM freshness ORDER BY source"
