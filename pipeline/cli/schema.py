"""``pipeline schema``: the data dictionary."""

from __future__ import annotations

import click

from pipeline.cli.options import format_option


@click.command()
@click.argument("table", required=False)
@format_option
def schema(table: str | None, form: str) -> int:
    """Show every table's columns, their types and what they mean; or those of one TABLE.

    \b
    pipeline schema
    pipeline schema completions --format csv
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.errors import UsageError  # noqa: PLC0415
    from pipeline.schema import TABLES, describe  # noqa: PLC0415

    if table is not None and table not in TABLES:
        raise UsageError(f"there is no table {table}", hint=f"tables: {', '.join(TABLES)}")
    rows = [
        (name, field.name, str(field.type), "yes" if field.nullable else "no", describe(field))
        for name, one in TABLES.items()
        for field in one.columns
        if table in {None, name}
    ]
    console.table(("table", "column", "type", "nullable", "description"), rows, form)
    return 0
