"""Budgets: what was spent of each in a month and what it comes to at this rate, and which are passed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cost.rates import text

if TYPE_CHECKING:
    from pipeline.cost.settings import Budget

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent of a budget, and what the month comes to at this rate."""

    budget: Budget
    cost_min: Decimal
    cost: Decimal
    projected: Decimal | None
    """At most, by the end of the month; None where it is over, or nothing can be told yet."""
    unpriced_requests: int

    @property
    def is_passed(self) -> bool:
        """Whether more may have been spent than allowed."""
        return self.cost > self.budget.month

    @property
    def is_projected(self) -> bool:
        """Whether more will be spent than allowed, at this rate."""
        return self.projected is not None and self.projected > self.budget.month

    @property
    def line(self) -> str:
        """Say in one line, fit for a chat message, how the budget stands."""
        budget = self.budget
        share = f" ({100 * self.cost / budget.month:.0f} %)" if budget.month else ""
        told = f"{budget.name}: {between(self.cost_min, self.cost)} of {dollars(budget.month)}{share}"
        if self.is_passed:
            told += " - PASSED" if self.cost_min > budget.month else " - PASSED AT MOST, depending on the cached share"
        elif self.is_projected and self.projected is not None:
            told += f" - projected to be {dollars(self.projected)} by the end of the month"
        return told + (f"; {self.unpriced_requests:,} requests are unpriced" if self.unpriced_requests else "")


def condition(budget: Budget) -> str:
    """Return the completions that a budget is for, as SQL over ``cost_by_completion``."""
    told = [f"source = {text(budget.source)}"] if budget.source else []
    told += [f"starts_with(lower(model), {text(budget.model.lower())})"] if budget.model else []
    told += [f"metadata[{text(key)}] = {text(value)}" for key, value in sorted(budget.metadata.items())]
    return " AND ".join(told) or "true"


def dollars(amount: Decimal) -> str:
    """Write an amount for people: cents, or the first figures of less than that."""
    if 0 < abs(amount) < _CENT:
        return f"${amount:.2g}" if amount >= Decimal("1e-6") else "<$0.000001"
    return f"${amount:,.2f}"


def between(least: Decimal, most: Decimal) -> str:
    """Write an amount that is only known within bounds."""
    return dollars(most) if dollars(least) == dollars(most) else f"{dollars(least)} to {dollars(most)}"
