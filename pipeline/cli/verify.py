"""``pipeline verify``: the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@settings
@click.option("--inside/--no-inside", default=True, show_default=True, help="Recompute archive, Parquet and DuckDB.")
@click.option("--against-api", is_flag=True, help="Walk everything that is listed and compare it with what is held.")
@click.option("--json", "as_json", is_flag=True, help="Put the verdict on stdout as one JSON object.")
def verify(config_file: Path | None, data: Path | None, inside: bool, against_api: bool, as_json: bool) -> int:
    """Prove that everything held is whole, and that every copy of it says the same; nothing is changed.

    Everything is recomputed from the bodies in the archive, never from counters. Each problem comes with the command
    that mends it; the exit code is 4 where something is unexplained.

    \b
    pipeline verify --data FOLDER
    pipeline verify --against-api --json
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.verify import verify as verify_all  # noqa: PLC0415

    verdict = verify_all(load_config(config_file, data), inside=inside, against_api=against_api)
    if as_json:
        console.emit_json(verdict.as_dict())
    else:
        console.say(console.verdict(verdict))
    return verdict.exit_code
