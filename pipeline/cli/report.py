"""``pipeline report``: what the tokens cost, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.cost import Day
from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    import datetime as dt


@click.command()
@settings
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
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    default="report.html",
    show_default=True,
    help="The file; an earlier report there is replaced, anything else is left alone.",
)
@click.option(
    "--prices",
    "price_set",
    metavar="SET",
    help="Price with an earlier set of list prices, named by its day, such as 2026-11-10.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="KEY",
    help="Tell cost by this metadata key (repeatable). [default: cost.tags]",
)
@click.option("--with-content", is_flag=True, help="Show how the most expensive completions begin, not only their ids.")
def report(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path | None,
    data: Path | None,
    month: str | None,
    since: dt.date | None,
    until: dt.date | None,
    tz: str,
    out: Path,
    price_set: str | None,
    tags: tuple[str, ...],
    with_content: bool,
) -> int:
    """Write what the tokens cost as one HTML file, for a mail or a share.

    It needs no network and runs no script; it is readable on a phone and prints on A4. Under each chart are its
    numbers and the SQL behind them. It holds ids of completions, and nothing that was said unless you ask for it.

    \b
    pipeline report --month 2026-10 --tag team --out october.html
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.report import Wanted  # noqa: PLC0415
    from pipeline.report import report as write  # noqa: PLC0415

    wanted = Wanted(since, until, month, tz, price_set, tags, with_content)
    console.say(write(load_config(config_file, data), wanted, out))
    return 0
