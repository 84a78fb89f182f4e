"""``pipeline rebuild``: derived data made anew from the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("what", type=click.Choice(["parquet", "duckdb", "delta", "all", "ledger", "blobs"]), default="all")
@settings
@click.option("--accept-losses", is_flag=True, help="Note in the ledger that missing segments are lost for good.")
def rebuild(what: str, config_file: Path | None, data: Path | None, accept_losses: bool) -> int:
    """Make Parquet, DuckDB, Delta or all in use anew from the archive alone, beside the old, and swap when done.

    Interrupt it anywhere: the old serves on. An older data folder is upgraded in the same way, by the next run.
    `ledger` checks every segment and enters it anew; `blobs` removes what nothing refers to.

    \b
    pipeline rebuild parquet --data FOLDER
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.errors import UsageError, worst  # noqa: PLC0415
    from pipeline.repair import repair  # noqa: PLC0415

    if accept_losses and what != "ledger":
        raise UsageError("--accept-losses is about what the ledger has lost", hint="pipeline rebuild ledger")
    done = repair(load_config(config_file, data), what, accepts_losses=accept_losses)
    console.say(console.rebuilt(done))
    return worst(result.exit_code for result in done)
