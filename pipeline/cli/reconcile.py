"""``pipeline reconcile``: the bill beside the estimate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pipeline.cli.cost import Day
from pipeline.cli.options import format_option, load_config, settings

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path


@click.command()
@settings
@click.option("--since", type=Day(), help="The first UTC day. [default: that of the first completion held]")
@click.option("--until", type=Day(), help="The day after the last one; no day that is not over. [default: today]")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["day", "source", "model"]),
    help="What rows are told apart by (repeatable). [default: source and model in a table, else all three]",
)
@format_option
@click.option("--json", "as_json", is_flag=True, help="Put everything on stdout as one JSON object.")
def reconcile(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path | None,
    data: Path | None,
    since: dt.date | None,
    until: dt.date | None,
    by: tuple[str, ...],
    form: str,
    as_json: bool,
) -> int:
    """Fetch what the organization used and was billed, and say why the estimate differs from it.

    It needs an admin key, by reference (organization.admin_key), which is used for nothing else. Days that are held
    are not fetched again, but for the last few: usage and bills come late. The difference is split into what was not
    stored, other line items, the cached share, tiers, batches, what has no price, other prices, and what is not
    explained; together they are all of it. A difference is no error.

    \b
    OPENAI_ADMIN_KEY=… pipeline reconcile --since 2026-10-01 --until 2026-11-01
    pipeline reconcile --by day --format csv
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.reconcile import reconcile as compare  # noqa: PLC0415

    is_drawn = not as_json and (form == "table" or (form == "auto" and sys.stdout.isatty()))
    keys = by or (("source", "model") if is_drawn else ("day", "source", "model"))
    done = compare(load_config(config_file, data), since=since, until=until, by=keys)
    log = console.Log()
    for one in done.fetched:
        if one.why_not:
            log.say("error", "fetch", f"error: {one.why_not}" + (f"\n  {one.hint}" if one.hint else ""))
    for result in done.destinations:
        if result.error:
            log.say("error", "destination", f"error: {result.destination}: {result.error}")
    if as_json:
        console.emit_json(done.as_dict())
    elif is_drawn:
        console.table(*done.for_people, form)
        console.say("\n".join(done.lines))
    else:
        console.table(done.columns, done.rows, form)
        for line in done.lines:
            log.say("info", "reconciled", line)
    return done.exit_code
