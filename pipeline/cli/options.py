"""Options that several commands share, and how they become a Config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config import Config

F = TypeVar("F", bound="Callable[..., object]")

config_option = click.option(
    "--config",
    "config_file",
    envvar="PIPELINE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    help="Settings in TOML; without one the environment describes a source named default.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, readable=False),
    help="The data folder; wins over PIPELINE_DATA and the settings. [default: ./data]",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "table", "csv", "json"]),
    default="auto",
    show_default=True,
    help="auto is a table on a terminal and CSV elsewhere; CSV puts a ' before a text that a spreadsheet would run.",
)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A duration as the settings write it; becomes seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; nothing at all is no duration."""
        from pipeline.config import duration  # noqa: PLC0415 - only where one is given

        try:
            seconds = duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return seconds or self.fail("must be longer than nothing", param, ctx)


def bounds(command: F) -> F:
    """Add the options that bound what a run asks for."""
    for option in (
        click.option(
            "--max-runtime",
            type=Duration(),
            help="Ask for nothing more after this time, such as 90s, 30m or 2h, shared out among the sources; what was "
            "read is loaded and published, and the next run goes on from there.",
        ),
        click.option(
            "--max-pages",
            type=click.IntRange(min=1),
            metavar="N",
            help="Read at most N pages of each source beyond what earlier runs had read; the next run goes on from "
            "there.",
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="SOURCE",
            help="Ask this source and no other (repeatable); all that is archived is loaded and published.",
        ),
    ):
        command = option(command)
    return command


def reporting(command: F) -> F:
    """Add the options that say how a run is reported."""
    for option in (
        click.option(
            "--progress",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            show_default=True,
            help="A moving line; auto shows it on a terminal, and a log line now and then elsewhere.",
        ),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="One line per event on stderr.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Put the result on stdout as one JSON object, the last line."
        ),
    ):
        command = option(command)
    return command


def watching(command: F) -> F:
    """Add the options that say whom to tell how a run went."""
    for option in (
        click.option(
            "--ping-url",
            envvar="PIPELINE_PING_URL",
            metavar="URL",
            help="Ping URL/start, then URL or URL/fail, as healthchecks.io has it; or env:NAME or file:PATH of it.",
        ),
        click.option(
            "--metrics-file",
            envvar="PIPELINE_METRICS_FILE",
            type=click.Path(path_type=Path, readable=False),
            metavar="FILE",
            help="Write metrics for Prometheus, however the run ends: a .prom file for node_exporter.",
        ),
    ):
        command = option(command)
    return command


def settings(command: F) -> F:
    """Add the options that name the settings."""
    return config_option(data_option(command))


def load_config(config_file: Path | None, data: Path | None) -> Config:
    """Read the settings as this command was called."""
    from pipeline.config import load  # noqa: PLC0415 - only where a command needs settings

    return load(config_file, os.environ, data=data)
