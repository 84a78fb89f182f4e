"""How a question of the report is asked, and how it is shown; pure.

Each question is a SELECT over ``costs``, the priced completions of the period. Shown, ``costs`` is a part of the view
``cost_by_completion``, so that it runs in any notebook. Asked here, ``costs`` is completions that were summed before
they were priced, once for all questions. Both give the same to the last decimal, because amounts are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.cost.pricing import basis, grouped
from pipeline.cost.settings import Cost
from pipeline.cost.views import by_completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.cost.period import Period

_COSTS, _BEFORE, VIEW = "costs", "costs_before", "cost_by_completion"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is about."""

    period: Period
    cost: Cost = field(default_factory=Cost)
    price_set: str | None = None
    """As it was reported then; None is the newest."""
    is_as_published: bool = True
    """Whether the snapshot's own view prices like this; otherwise what is shown brings the view along."""

    def tables(self) -> list[str]:
        """Return the statements that sum and price both periods, once for all questions."""
        periods = ((_COSTS, self.period), (_BEFORE, self.period.previous()))
        return [f"CREATE TEMP TABLE {name} AS {self.summed(period, {})}" for name, period in periods]

    def summed(self, period: Period, columns: Mapping[str, str], relation: str = "completions") -> str:
        """Return the query of priced sums by day, source, model, tier, reason and more columns."""
        groups = grouped(
            self.cost,
            {"day": period.expression(), **columns},
            where=period.condition(),
            price_set=self.price_set,
            relation=relation,
        )
        return f"SELECT *, {basis()} AS basis FROM ({groups})"

    def view(self) -> dict[str, str]:
        """Return what has to come along where the snapshot's view prices otherwise."""
        return {} if self.is_as_published else {VIEW: by_completion(self.cost, self.price_set)}


@dataclass(frozen=True, slots=True)
class Query:
    """A question: a SELECT over ``costs``, and over ``costs_before`` where it compares."""

    select: str
    parts: Mapping[str, str] = field(default_factory=dict)
    """Queries by name that the SELECT uses."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns that ``costs`` needs besides, as SQL over a completion."""
    beside: str = ""
    """A query by source and completion_id; completions are told with its columns."""
    is_comparing: bool = False

    def asked(self, asked: Asked) -> str:
        """Return it as it is asked here, where the tables are made."""
        own = self._periods(asked) if self.columns else {}
        costs = {name: asked.summed(period, self.columns, self._relation()) for name, period in own.items()}
        return written({**costs, **self.parts}, self.select)

    def shown(self, asked: Asked) -> str:
        """Return it as it runs anywhere on the snapshot."""
        costs = {name: self._of_the_view(period) for name, period in self._periods(asked).items()}
        return written({**asked.view(), **costs, **self.parts}, self.select)

    def _periods(self, asked: Asked) -> dict[str, Period]:
        return {_COSTS: asked.period} | ({_BEFORE: asked.period.previous()} if self.is_comparing else {})

    def _relation(self) -> str:
        if not self.beside:
            return "completions"
        on = "beside.source = completions.source AND beside.completion_id = completions.id"
        return f"""(
            SELECT completions.*, beside.* EXCLUDE (source, completion_id)
            FROM completions LEFT JOIN ({self.beside}) AS beside ON {on}
        )"""

    def _of_the_view(self, period: Period) -> str:
        columns = "".join(f", {expression} AS {name}" for name, expression in self.columns.items())
        join = f" LEFT JOIN (\n{self.beside}\n    ) AS beside USING (source, completion_id)" if self.beside else ""
        return (
            f"    SELECT {period.expression()} AS day, 1 AS requests, *{columns}\n"
            f"    FROM {VIEW}{join}\n"
            f"    WHERE {period.condition()}"
        )


def written(parts: Mapping[str, str], select: str) -> str:
    """Write a SELECT behind the queries that it uses."""
    named = ", ".join(f"{name} AS (\n{part}\n)" for name, part in parts.items())
    return f"WITH {named}\n{select}" if named else select
