"""``pipeline cost``: what the tokens cost."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


class Day(click.ParamType[dt.date]):
    """A day such as 2026-10-31."""

    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        """Read it."""
        try:
            return dt.date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a day; write it like 2026-10-31", param, ctx)


@click.command()
@settings
@click.option(
    "--by", multiple=True, metavar="WHAT", help="day, week, month, model, tier, source or metadata:KEY (repeatable)."
)
@click.option("--month", metavar="YYYY-MM", help="A calendar month. [default: the one that the data end in]")
@click.option("--since", type=Day(), help="Instead of a month, the first day.")
@click.option("--until", type=Day(), help="The day after the last one.")
@click.option(
    "--tz",
    default="UTC",
    show_default=True,
    metavar="ZONE",
    help="The time zone in which days begin, such as Europe/Berlin.",
)
@click.option("--top", type=click.IntRange(min=1), help="Tell so many groups apart; the rest is one more.")
@click.option(
    "--prices",
    "price_set",
    metavar="SET",
    help="Price with an earlier set of list prices, named by its day, such as 2026-11-10.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "table", "csv", "json", "md", "parquet"]),
    default="auto",
    show_default=True,
    help="auto is a table on a terminal and CSV elsewhere.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Where Parquet goes; it is replaced whole.")
@click.option("--sql", "shows_sql", is_flag=True, help="Print the query behind the numbers instead.")
@click.option(
    "--check", "checks", is_flag=True, help="Say how each budget stands; exit with 4 where one is, or will be, passed."
)
@click.option("--strict", is_flag=True, help="Exit with 4 where anything is unpriced.")
def cost(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path | None,
    data: Path | None,
    by: tuple[str, ...],
    month: str | None,
    since: dt.date | None,
    until: dt.date | None,
    tz: str,
    top: int | None,
    price_set: str | None,
    form: str,
    out: str | None,
    shows_sql: bool,
    checks: bool,
    strict: bool,
) -> int:
    """Tell what the tokens cost, what that rests on, and what the period before cost.

    Costs are US dollars by list prices and your own settings, no more than cost and no less than cost_min: where the
    cached share of a prompt is not told, the one counts it as not cached, the other as cached. The bill may differ.

    \b
    pipeline cost --by model --month 2026-10
    pipeline cost --by month --by metadata:team --since 2026-07-01 --until 2026-10-01 --format md
    pipeline cost --check
    """
    from pipeline import costs  # noqa: PLC0415 - --help stays light
    from pipeline.cli import spending  # noqa: PLC0415
    from pipeline.cost.period import read_month  # noqa: PLC0415
    from pipeline.errors import UsageError  # noqa: PLC0415

    config = load_config(config_file, data)
    days = read_month(month, tz) if month else None
    if days and (since or until):
        raise UsageError("a month and days were asked for", hint="--month, or --since and --until")
    if checks:
        if by or since or until or top or out or shows_sql or strict or tz != "UTC" or price_set or form != "auto":
            raise UsageError("--check tells of budgets, by the month", hint="with --month, or alone")
        return spending.tell_budgets(costs.ask_budgets(config, days))
    if days:
        since, until = days.since, days.until
    answer = costs.ask_costs(config, by=by, since=since, until=until, tz=tz, top=top, price_set=price_set)
    return spending.tell(answer, form=form, out=out, shows_sql=shows_sql, strict=strict)
