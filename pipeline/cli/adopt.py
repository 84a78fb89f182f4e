"""``pipeline adopt``: completions that people saved before."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import load_config, settings


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@settings
@click.option(
    "--source", required=True, metavar="SOURCE", help="The source that they came from: its name stands on every row."
)
@click.option("--table", metavar="TABLE", help="The table of a DuckDB file.")
@click.option("--column", metavar="COLUMN", help="The column that holds the JSON, of a Parquet file or a table.")
def adopt(  # noqa: PLR0913, PLR0917 - one parameter per option
    path: Path, config_file: Path | None, data: Path | None, source: str, table: str | None, column: str | None
) -> int:
    """Take completions that were saved before into the archive: JSONL, pages, a folder, Parquet or DuckDB.

    They are marked as adopted (completions.origin). What the API said itself always wins: an id that is held is left as
    it is. The next run loads them.

    \b
    pipeline adopt saved.jsonl --source default --data FOLDER
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.adopt import adopt as adopt_all  # noqa: PLC0415
    from pipeline.errors import IncompleteError  # noqa: PLC0415

    done = adopt_all(load_config(config_file, data), path, source=source, table=table, column=column)
    console.say(console.adopted(done))
    return IncompleteError.exit_code if done.skipped else 0
