"""``pipeline query``: SQL on the published snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import format_option, load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("sql")
@settings
@format_option
def query(sql: str, config_file: Path | None, data: Path | None, form: str) -> int:
    """Ask the published snapshot: read-only, and without access to other files.

    \b
    pipeline query --data FOLDER 'SELECT * FROM usage_by_model'
    pipeline query 'SELECT model, count(*) AS requests FROM completions GROUP BY model' --format json
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.assemble import query_snapshot  # noqa: PLC0415

    with query_snapshot(load_config(config_file, data).data, sql) as answer:
        console.table(answer.columns, answer.rows, form)
    return 0
