"""How `pipeline cost` tells its answer, in each format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import console, costs
from pipeline.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.cost.answer import Costs
    from pipeline.cost.budget import Spent


def tell(answer: Costs, *, form: str, out: str | None, shows_sql: bool, strict: bool) -> int:
    """Print or write the answer; raises CheckFailedError where ``strict`` is asked and something is unpriced."""
    if (out is not None) is not (form == "parquet"):
        raise UsageError("Parquet goes to a file, and only Parquet does", hint="--format parquet --out FILE")
    if shows_sql:
        console.verbatim(answer.sql)
    elif out is not None:
        costs.write_parquet(answer, out)
    elif form == "json":
        console.emit_json(answer.as_dict())
    else:
        console.costs(answer, form)
    if strict and answer.is_unpriced:
        count = answer.total["unpriced_requests"]
        raise CheckFailedError(
            f"{count:,} requests are unpriced",
            hint="SELECT model, unpriced_because, count(*) FROM cost_by_completion GROUP BY ALL; then [cost] prices",
        )
    return 0


def tell_budgets(spent: Sequence[Spent]) -> int:
    """Print a line for each budget; raises CheckFailedError where one is, or is projected to be, passed."""
    if not spent:
        raise UsageError("the settings hold no budget", hint='budgets = [{ name = "all", month = 500 }] under [cost]')
    for one in spent:
        console.say(one.line)
    passed = [one.budget.name for one in spent if one.is_passed or one.is_projected]
    if passed:
        raise CheckFailedError(
            f"budgets passed, or projected to be: {', '.join(passed)}", hint="pipeline cost --by day"
        )
    return 0
