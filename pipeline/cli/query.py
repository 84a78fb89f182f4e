"""``pipeline query``: SQL on the published snapshot, or a question that comes with the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import format_option, load_config, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Named(click.ParamType[tuple[str, str]]):
    """A value by name, such as key=team."""

    name = "value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read it; the value may hold anything, also a further =."""
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is no value; write it like key=team", param, ctx)
        return name, text


@click.command()
@click.argument("sql", required=False)
@click.option("--recipe", metavar="NAME", help="Ask a question that comes with the program; its SQL is on stderr.")
@click.option("--recipes", "lists", is_flag=True, help="List these questions, and what each takes.")
@click.option(
    "--set",
    "values",
    type=Named(),
    multiple=True,
    metavar="NAME=VALUE",
    help="What stands for $NAME in the query (repeatable); it is compared, never run.",
)
@settings
@format_option
def query(  # noqa: PLR0913, PLR0917 - one parameter per option
    sql: str | None,
    recipe: str | None,
    lists: bool,
    values: tuple[tuple[str, str], ...],
    config_file: Path | None,
    data: Path | None,
    form: str,
) -> int:
    """Ask the published snapshot: read-only, and without access to other files.

    \b
    pipeline query --data FOLDER 'SELECT * FROM usage_by_model'
    pipeline query 'SELECT model, count(*) AS requests FROM completions GROUP BY model' --format json
    pipeline query --recipe by_metadata --set key=team
    """
    if [sql is not None, recipe is not None, lists].count(True) != 1:
        raise click.UsageError("Ask one thing: SQL, --recipe NAME, or --recipes for a list.")
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.assemble import query_snapshot  # noqa: PLC0415

    if lists:
        return _list(form)
    asked, filled = _asked(sql or "", recipe, dict(values))
    with query_snapshot(load_config(config_file, data).data, asked, filled) as answer:
        console.table(answer.columns, _told(answer.rows) if recipe else answer.rows, form)
    return 0


def _list(form: str) -> int:
    from pipeline import console  # noqa: PLC0415 - as above
    from pipeline.recipes import recipes  # noqa: PLC0415

    rows = [(one.name, one.explanation, " ".join(value.name for value in one.values)) for one in recipes().values()]
    console.table(("recipe", "answers", "takes"), rows, form)
    return 0


def _told(rows: Iterator[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    """Hand rows on; say where there was none, as after a key that no completion has."""
    from pipeline import console  # noqa: PLC0415 - as above

    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007 - counted
        yield row
    if not number:
        console.Log().say("info", "empty", "no rows: the snapshot holds nothing of this")


def _asked(sql: str, recipe: str | None, values: dict[str, str]) -> tuple[str, dict[str, str | int | None]]:
    """Return the query and its values; that of a recipe is shown."""
    from pipeline import console  # noqa: PLC0415 - as above
    from pipeline.recipes import find  # noqa: PLC0415

    if recipe is None:
        return sql, dict(values)
    found = find(recipe)
    filled = found.filled(values)
    console.Log().say("info", "sql", found.sql)
    return found.sql, filled
