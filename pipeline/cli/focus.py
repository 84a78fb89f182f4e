"""``pipeline focus``: a month as a FOCUS file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.options import load_config, settings


@click.command()
@settings
@click.option("--month", required=True, metavar="YYYY-MM", help="A calendar month of UTC, such as 2026-10.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="Parquet holds every text as it is; CSV puts a ' before one that a spreadsheet would run.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, whole or not at all. [default: stdout, for CSV]",
)
@click.option(
    "--prices",
    "price_set",
    metavar="SET",
    help="Price with an earlier set of list prices, named by its day, such as 2026-11-10.",
)
@click.option("--strict", is_flag=True, help="Exit with 4 where anything is unpriced.")
def focus(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path | None,
    data: Path | None,
    month: str,
    form: str,
    out: Path | None,
    price_set: str | None,
    strict: bool,
) -> int:
    """Write a month's costs for FinOps tools, as FOCUS 1.2.

    One row per UTC day, source, model, tier, class of tokens and set of tags that the settings allow. ListCost,
    ContractedCost and EffectiveCost are estimates, x_CostBasis says what they rest on; BilledCost is what
    `pipeline reconcile` fetched of the bill, in rows of its own.

    \b
    pipeline focus --month 2026-10 > focus-2026-10.csv
    pipeline focus --month 2026-10 --format parquet --out focus-2026-10.parquet
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline import focus as writer  # noqa: PLC0415
    from pipeline.cost.period import read_month  # noqa: PLC0415
    from pipeline.errors import CheckFailedError, UsageError  # noqa: PLC0415

    period = read_month(month)
    if form == "parquet" and out is None:
        raise UsageError("Parquet goes to a file", hint="name it with --out")
    config = load_config(config_file, data)
    with writer.rows(config, period, price_set) as answer:
        if out is None:
            console.write_csv(sys.stdout, answer.columns, writer.texts(answer))
        else:
            {"csv": writer.write_csv, "parquet": writer.write_parquet}[form](answer, out)
    told = writer.remarks(config, period, price_set)
    for line in told.lines:
        console.Log().say("warning", "focus", line)
    if strict and told.unpriced_requests:
        raise CheckFailedError(f"{told.unpriced_requests:,} requests are unpriced", hint="tell prices under [cost]")
    return 0
