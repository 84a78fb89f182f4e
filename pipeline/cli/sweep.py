"""``pipeline sweep``: a run that walks everything still listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import click

from pipeline.cli.options import bounds, reporting, settings, watching
from pipeline.cli.run import run_now

if TYPE_CHECKING:
    from pipeline.cli.run import Options


@click.command()
@settings
@reporting
@watching
@bounds
@click.option(
    "--accept-losses",
    is_flag=True,
    help="Let most of what is held be found gone: the project was emptied or switched on purpose.",
)
def sweep(accept_losses: bool, **options: Unpack[Options]) -> int:
    """Run, and walk everything still listed: edits, deletions, and what no run has seen.

    A run does this by itself every 7 days (sweep_every), within a budget of requests (sweep_requests); what the budget
    does not reach waits for the next run. Gone is only what its own GET does not find.

    \b
    pipeline sweep --data FOLDER
    """
    return run_now(sweep=True, accepts_losses=accept_losses, **options)
