"""What `pipeline cost` answers: rows, the total beside the period before, the rate it runs at, and budgets."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import assemble, files
from pipeline.cost import budget, question
from pipeline.cost.answer import Costs
from pipeline.cost.budget import Spent
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
    with assemble.asking(config) as ask:
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
    with assemble.asking(config) as ask:
        through = reached(ask)
        period = month or _period(None, None, "UTC", through)
        return [_spent(ask, config, one, period, through) for one in config.cost.budgets]


_SETS = f"SELECT DISTINCT price_set FROM prices WHERE price_set <> {text(OWN)} ORDER BY ALL"
_THROUGH = "SELECT min(data_through) FROM freshness"


def write_parquet(answer: Costs, out: str) -> None:
    """Write the rows as one Parquet file, whole or not at all; amounts are decimals of 15 places."""
    with files.writing_out(Path(out)) as temp:
        pq.write_table(_table(answer), temp)


def _table(answer: Costs) -> pa.Table:
    """Declare every column: what is counted, what is money, what says a day, and texts."""
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(answer.columns):
        values = [row[place] for row in answer.rows]
        columns[name] = pa.array(values, _type(name, values, is_key=name in answer.asked.names))
    return pa.table(columns)


def _type(name: str, values: list[Any], *, is_key: bool) -> pa.DataType:
    if not is_key and name in {"cost", "cost_min", "previous_cost"}:
        return pa.decimal128(38, 15)
    if not is_key and name.endswith(("_tokens", "requests")):
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
