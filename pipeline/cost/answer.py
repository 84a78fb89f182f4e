"""What `pipeline cost` answers: plain values, and how people read them; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.cost.budget import between, dollars

if TYPE_CHECKING:
    import datetime as dt
    from decimal import Decimal

    from pipeline.cost.period import Period
    from pipeline.cost.question import Question


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


def _for_people(row: dict[str, Any], *, is_compared: bool) -> list[object]:
    cost, before = row["cost"], row["previous_cost"]
    told: list[object] = [row["requests"], row["prompt_tokens"], row["completion_tokens"]]
    told.append("" if cost is None else between(row["cost_min"], cost))
    told += ["" if before is None else dollars(before)] if is_compared else []
    return [*told, row["unpriced_requests"] or ""]
