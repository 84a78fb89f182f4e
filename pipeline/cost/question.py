"""`pipeline cost` as one SQL query: sums over a period by what was asked, beside the period before; pure.

Completions of the same rates and reasons are priced together: to the last decimal the same as one by one.

    completions of both periods ──sums──▶ priced groups ──top groups, the rest as one──▶ rows
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.cost.pricing import REASONS, grouped
from pipeline.cost.rates import text
from pipeline.cost.views import NONE, TOTALS
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.cost.period import Period
    from pipeline.cost.settings import Cost

METADATA = "metadata:"
#: What time is cut into: rows of these are told in their order, others by cost.
_TIMES = {
    "day": "local_day",
    "week": "date_trunc('week', local_day)::DATE",
    "month": "date_trunc('month', local_day)::DATE",
}
_OTHERS = {
    "source": "source",
    "model": f"coalesce(model, '{NONE}')",
    "tier": f"coalesce(service_tier, '{NONE}')",
}
#: What --by takes, besides metadata:KEY.
DIMENSIONS = (*_TIMES, *_OTHERS)
#: What stands for the groups beyond --top.
OTHER = "(other)"
#: By column: how many completions' cost rests on it.
_RESTS = {
    **{f"{flag}_requests": f"coalesce(sum(requests) FILTER ({flag}), 0)" for flag in REASONS},
    "exact_requests": f"""coalesce(sum(requests)
            FILTER (unpriced_because IS NULL AND NOT ({" OR ".join(REASONS)})), 0)""",
}
_REASON_OF = {
    "exact_requests": "exact",
    **{f"{flag}_requests": reason for flag, reason in REASONS.items()},
    "unpriced_requests": "unpriced",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about cost."""

    by: tuple[str, ...]
    period: Period
    top: int | None = None
    """Groups told apart, by cost; the rest is one more."""
    where: str = "true"
    """A further condition in SQL, as budgets have it."""
    cost: Cost | None = None
    """Where it is given, completions are summed before they are priced, which is as exact and many times as fast."""
    price_set: str | None = None
    """With ``cost``: as it was reported then; None is the newest."""
    relation: str = "cost_by_completion"
    """Without ``cost``: where completions come from that are priced already."""

    @property
    def is_over_time(self) -> bool:
        """Whether rows are stretches of time, which have no namesake in the period before."""
        return any(one in _TIMES for one in self.by)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that rows are grouped by."""
        return tuple(one.removeprefix(METADATA) for one in self.by)


def check(by: tuple[str, ...]) -> None:
    """Raise UsageError for what cost cannot be grouped by."""
    for one in by:
        if one not in DIMENSIONS and not (one.startswith(METADATA) and one != METADATA):
            known = f"there are {', '.join(DIMENSIONS)} and {METADATA}KEY"
            raise UsageError(f"cost cannot be told by {one}", hint=known)
    names = [one.removeprefix(METADATA).casefold() for one in by]  # SQL knows no capitals
    taken = {*TOTALS, *_RESTS, "previous_cost", "basis"}
    if len({*names}) < len(names) or taken & {*names}:
        raise UsageError("two columns of the answer would have one name", hint="ask for one of them at a time")


def rows(question: Question) -> str:
    """Return the query of one row per group: sums, what the period before cost, and what the cost rests on."""
    keys = [_key(place) for place in range(len(question.by))]
    named = "".join(f"{key} AS {_quoted(name)}, " for key, name in zip(keys, question.names, strict=True))
    before = replace(question, period=question.period.previous())
    sums = ", ".join(f"sum({name}) AS {name}" for name in (*TOTALS, *_RESTS))
    return f"""
WITH now AS ({_groups(question)}
), before AS ({_groups(before)}
), ranked AS (
    SELECT {"".join(f"coalesce(now.{key}, before.{key}) AS {key}, " for key in keys)}
        now.* EXCLUDE ({", ".join(keys) or "nothing"}), before.cost AS previous_cost,
        row_number() OVER (ORDER BY now.cost DESC NULLS LAST, before.cost DESC NULLS LAST) AS rank
    FROM now {"LEFT" if question.is_over_time else "FULL"} JOIN before ON {_same(keys)}
), told AS (
    SELECT {"".join(f"{_folded(key, question.top)} AS {key}, " for key in keys)}
        {sums}, sum(previous_cost) AS previous_cost
    FROM ranked GROUP BY {", ".join(str(place + 1) for place in range(len(keys))) or "()"}
)
SELECT {named}
    {", ".join(_counted(name) for name in TOTALS)}, previous_cost, {_BASIS} AS basis
FROM told ORDER BY {_order(question, keys)}
"""


def _groups(question: Question) -> str:
    """Return the query that sums one period by group; without groups it is one row, also where nothing was asked."""
    keys = {_key(place): _expression(one, question) for place, one in enumerate(question.by)}
    sums = ",\n        ".join(f"{expression} AS {name}" for name, expression in {**TOTALS, **_RESTS}.items())
    return f"""
    SELECT {"".join(f"{key}, " for key in keys) or "1 AS nothing, "}{sums}
    FROM ({_priced(question, keys)})
    {"GROUP BY " + ", ".join(str(place + 1) for place in range(len(keys))) if keys else ""}"""


def _priced(question: Question, keys: Mapping[str, str]) -> str:
    where = f"{question.period.condition()} AND {question.where}"
    if question.cost is not None:
        return grouped(question.cost, keys, where=where, price_set=question.price_set)
    named = "".join(f"{expression} AS {key}, " for key, expression in keys.items())
    columns = "prompt_tokens, completion_tokens, cost_min, cost, unpriced_because"
    return f"""
        SELECT {named}1 AS requests, {columns}, {", ".join(REASONS)} FROM {question.relation} WHERE {where}
    """


def _expression(one: str, question: Question) -> str:
    if one.startswith(METADATA):
        return f"coalesce(metadata[{text(one.removeprefix(METADATA))}], '{NONE}')"
    return {**_TIMES, **_OTHERS}[one].replace("local_day", question.period.expression())


def _key(place: int) -> str:
    """Name a column that is grouped by like none of those that decide on prices: a metadata key may have any name."""
    return f"key_{place}"


def _same(keys: list[str]) -> str:
    return " AND ".join(f"now.{key} = before.{key}" for key in keys) or "true"


def _folded(key: str, top: int | None) -> str:
    return key if top is None else f"CASE WHEN rank <= {top} THEN {key}::VARCHAR ELSE '{OTHER}' END"


def _counted(name: str) -> str:
    return name if name.startswith("cost") else f"coalesce({name}, 0) AS {name}"


def _order(question: Question, keys: list[str]) -> str:
    """Order by time where it is asked for, else by cost; what folds the rest comes last."""
    times = [key for key, one in zip(keys, question.by, strict=True) if one in _TIMES]
    last = [f"{keys[0]} = '{OTHER}'"] if question.top is not None and keys else []
    return ", ".join([*last, *times, "cost DESC NULLS LAST", *keys])


def _rest(name: str) -> str:
    """Name a reason with the share of requests that it is true of, where that is not all."""
    share = f"greatest(1, round(100 * {name} / requests))::INTEGER"
    part = f"CASE WHEN {name} < requests THEN ' ' || {share} || ' %' ELSE '' END"
    return f"CASE WHEN {name} > 0 THEN '{_REASON_OF[name]}' || {part} END"


_BASIS = f"concat_ws(', ', {', '.join(_rest(name) for name in _REASON_OF)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
