"""``pipeline status``: what is held and how fresh it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import format_option, load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


class Duration(click.ParamType[float]):
    """A duration such as 26h, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read ``26h``, ``90m`` or ``2d``."""
        from pipeline.config import duration  # noqa: PLC0415 - --help stays light

        try:
            return duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


@click.command()
@settings
@format_option
@click.option(
    "--troubles", "is_of_troubles", is_flag=True, help="Show what did not work in the last runs, and since when."
)
@click.option("--max-age", type=Duration(), help="Exit with 4 where a source's data end longer ago, such as 26h.")
def status(
    config_file: Path | None, data: Path | None, form: str, max_age: float | None, *, is_of_troubles: bool
) -> int:
    """Show how far each source's data reach, whether they are complete, and why not.

    \b
    pipeline status --data FOLDER --max-age 26h
    pipeline status --data FOLDER --troubles
    """
    from pipeline import console, troubles  # noqa: PLC0415 - --help stays light
    from pipeline.errors import CheckFailedError  # noqa: PLC0415
    from pipeline.folder import DataFolder  # noqa: PLC0415
    from pipeline.status import SourceStatus  # noqa: PLC0415
    from pipeline.status import status as read  # noqa: PLC0415

    config = load_config(config_file, data)
    sources = read(config)
    folder = DataFolder(config.data)
    if not folder.exists:
        console.Log().say("warning", "folder", f"there is no data folder at {folder.root}: the first run makes it")
    if is_of_troubles:
        columns = troubles.Trouble.__struct_fields__
        console.records(columns, [[getattr(one, name) for name in columns] for one in troubles.read(folder)], form)
    else:
        told = [tuple(asdict(one).values()) for one in sources]
        console.records(tuple(SourceStatus.__dataclass_fields__), told, form)
        console.troubles([one for one in troubles.read(folder) if one.over is None])
    stale = [source.source for source in sources if max_age is not None and source.is_older_than(max_age)]
    if stale:
        raise CheckFailedError(
            f"the data of {', '.join(stale)} end longer ago than allowed", hint="see why_not, then `pipeline run`"
        )
    return 0
