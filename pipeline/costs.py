"""What `pipeline cost` answers: rows, the total beside the period before, the rate it runs at, and budgets."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import assemble, files
from pipeline.cost import budget, question
from pipeline.cost.budget import Spent, between, dollars
from pipeline.cost.period import Period, projected
from pipeline.cost.prices import OWN
from pipeline.cost.question import Question
from pipeline.cost.rates import text
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config import Config
    from pipeline.cost.settings import Budget
    from pipeline.load.reading import Answer

    Ask = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Costs:
    """The answer: rows, and what they come to."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: dict[str, Any]
    """The same columns over all rows, by name, and ``previous_cost``."""
    period: Period
    through: dt.datetime | None
    """Up to when the data reach; the sources that reach least far count."""
    price_set: str
    """The set of prices that counted, beside the owner's own."""
    projected: Decimal | None
    """What the month of the period comes to at most, at the rate so far; None where it is over or not one month."""
    sql: str
    asked: Question

    @property
    def is_grouped(self) -> bool:
        """Whether there is more than the total."""
        return bool(self.asked.by)

    @property
    def is_over_time(self) -> bool:
        """Whether rows are stretches of time: what the period before cost says nothing of each."""
        return self.asked.is_over_time

    @property
    def for_people(self) -> tuple[list[str], list[list[object]]]:
        """Return columns and rows as people read them: amounts to the cent, bounds in one place, the total last."""
        keys = len(self.asked.by)
        rows = [(list(row[:keys]), dict(zip(self.columns, row, strict=True))) for row in self.rows]
        rows.append((["total", *[""] * (keys - 1)], self.total))
        before = [] if self.is_over_time else ["before"]
        columns = [*self.asked.names, "requests", "input", "output", "cost", *before, "unpriced"]
        return columns, [[*named, *_for_people(row, is_compared=bool(before))] for named, row in rows]

    @property
    def lines(self) -> tuple[str, ...]:
        """Say for people what it comes to, and what that rests on."""
        total = self.total
        cost, before = total["cost"], total["previous_cost"]
        amount = between(total["cost_min"], cost) if cost is not None else "nothing that has a price"
        first = f"{self.period} ({self.period.tz}): {amount}, {total['requests']:,} requests"
        told = [first + (f"; {self.period.previous()}: {dollars(before)} at most" if before is not None else "")]
        told += [f"rests on: {total['basis']}"] if total["basis"] else []
        if self.is_unpriced:
            told.append(f"unpriced: {total['unpriced_requests']:,} requests, {total['unpriced_tokens']:,} tokens")
        if self.projected is not None and self.through is not None:
            told.append(f"at this rate the month comes to {dollars(self.projected)} at most ({self._through})")
        return (*told, f"prices: {self.price_set}; an estimate from what is stored, not the bill")

    @property
    def _through(self) -> str:
        return f"data through {self.through:%Y-%m-%d %H:%M} UTC" if self.through else "no data"

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON-ready values: amounts are texts, so that they stay exact."""
        return {
            "since": self.period.since,
            "until": self.period.until,
            "tz": self.period.tz,
            "data_through": self.through,
            "price_set": self.price_set,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "total": self.total,
            "projected": self.projected,
        }

    @property
    def is_unpriced(self) -> bool:
        """Whether anything has no price."""
        return bool(self.total["unpriced_requests"])


def ask_costs(  # noqa: PLR0913 - each has a name
    config: Config,
    *,
    by: tuple[str, ...],
    since: dt.date | None,
    until: dt.date | None,
    tz: str = "UTC",
    top: int | None = None,
    price_set: str | None = None,
) -> Costs:
    """Answer from the published snapshot; without days, the month that the data end in.

    Raises UsageError for what cannot be asked, FolderError where nothing was published.
    """
    question.check(by)
    with assemble.asking(config.data) as ask:
        through = reached(ask)
        period = _period(since, until, tz, through)
        asked = Question(by, period, top, cost=config.cost, price_set=known(ask, price_set))
        answer = ask(question.rows(asked))
        rows = tuple(answer.rows)
        total = _one(ask, replace(asked, by=(), top=None))
        return Costs(
            answer.columns,
            rows,
            total,
            period,
            through,
            price_set or price_sets(ask)[-1],
            projected(total["cost"], period, through),
            question.rows(asked).strip(),
            asked,
        )


def ask_budgets(config: Config, month: Period | None = None) -> list[Spent]:
    """Say of every budget how it stands in the month that the data end in, of UTC."""
    with assemble.asking(config.data) as ask:
        through = reached(ask)
        period = month or _period(None, None, "UTC", through)
        return [_spent(ask, config, one, period, through) for one in config.cost.budgets]


_SETS = f"SELECT DISTINCT price_set FROM prices WHERE price_set <> {text(OWN)} ORDER BY ALL"
_THROUGH = "SELECT min(data_through) FROM freshness"


def _for_people(row: dict[str, Any], *, is_compared: bool) -> list[object]:
    cost, before = row["cost"], row["previous_cost"]
    told: list[object] = [row["requests"], row["prompt_tokens"], row["completion_tokens"]]
    told.append("" if cost is None else between(row["cost_min"], cost))
    told += ["" if before is None else dollars(before)] if is_compared else []
    return [*told, row["unpriced_requests"] or ""]


def write_parquet(answer: Costs, out: str) -> None:
    """Write the rows as one Parquet file, whole or not at all; amounts are decimals of 15 places."""
    path = Path(out)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not there", hint="name a file in a folder that is")
    with files.explained(path), files.replacing(path, scratch=path.parent) as temp:
        pq.write_table(_table(answer), temp)


def _table(answer: Costs) -> pa.Table:
    """Declare every column: what is counted, what is money, what says a day, and texts."""
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(answer.columns):
        values = [row[place] for row in answer.rows]
        columns[name] = pa.array(values, _type(name, values))
    return pa.table(columns)


def _type(name: str, values: list[Any]) -> pa.DataType:
    if name in {"cost", "cost_min", "previous_cost"}:
        return pa.decimal128(38, 15)
    if name.endswith(("_tokens", "requests")):
        return pa.decimal128(38, 0) if any(abs(value or 0) >= 2**63 for value in values) else pa.int64()
    return pa.date32() if values and all(type(value) is dt.date for value in values) else pa.string()


def _spent(ask: Ask, config: Config, one: Budget, period: Period, through: dt.datetime | None) -> Spent:
    told = _one(ask, Question((), period, where=budget.condition(one), cost=config.cost))
    cost = told["cost"] or Decimal(0)
    at_rate = projected(cost, period, through)
    return Spent(one, told["cost_min"] or Decimal(0), cost, at_rate, told["unpriced_requests"])


def _one(ask: Ask, asked: Question) -> dict[str, Any]:
    answer = ask(question.rows(asked))
    (row,) = answer.rows
    return dict(zip(answer.columns, row, strict=True))


def reached(ask: Ask) -> dt.datetime | None:
    """Return up to when the data reach; the sources that reach least far count."""
    ((through,),) = ask(_THROUGH).rows
    return through  # type: ignore[no-any-return]


def price_sets(ask: Ask) -> list[str]:
    """Return the sets of prices that the snapshot knows, the newest last."""
    return [name for (name,) in ask(_SETS).rows]


def known(ask: Ask, price_set: str | None) -> str | None:
    """Return the price set asked for; raises UsageError for one that is none."""
    there = price_sets(ask)
    if price_set is not None and price_set not in there:
        raise UsageError(f"there is no price set {price_set}", hint=f"there are {', '.join(there)}")
    return price_set


def relation(ask: Ask, config: Config, price_set: str | None) -> str:
    """Name the view, or the query that prices with an earlier set of prices."""
    if known(ask, price_set) is None:
        return "cost_by_completion"
    from pipeline.cost.views import by_completion  # noqa: PLC0415 - only where it is asked for

    return f"({by_completion(config.cost, price_set)})"


def _period(since: dt.date | None, until: dt.date | None, tz: str, through: dt.datetime | None) -> Period:
    """Return the days asked for; of an open end, as far as the month or the days that the data end in."""
    return Period.of(since, until, tz, through or dt.datetime.now(dt.UTC))
