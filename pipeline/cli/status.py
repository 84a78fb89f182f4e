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
@click.option("--max-age", type=Duration(), help="Exit with 4 where a source's data end longer ago, such as 26h.")
def status(config_file: Path | None, data: Path | None, form: str, max_age: float | None) -> int:
    """Show how far each source's data reach, whether they are complete, and why not.

    \b
    pipeline status --data FOLDER --max-age 26h
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.errors import CheckFailedError  # noqa: PLC0415
    from pipeline.status import SourceStatus  # noqa: PLC0415
    from pipeline.status import status as read  # noqa: PLC0415

    sources = read(load_config(config_file, data))
    columns = list(SourceStatus.__dataclass_fields__)
    console.table(columns, [list(asdict(source).values()) for source in sources], form)
    stale = [source.source for source in sources if max_age is not None and source.is_older_than(max_age)]
    if stale:
        raise CheckFailedError(
            f"the data of {', '.join(stale)} end longer ago than allowed", hint="see why_not, then `pipeline run`"
        )
    return 0
