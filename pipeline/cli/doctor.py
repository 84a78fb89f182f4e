"""``pipeline doctor``: the examination before the first night, and when something is wrong."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import format_option, load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@settings
@format_option
def doctor(config_file: Path | None, data: Path | None, form: str) -> int:
    """Look at servers, keys, data folder and libraries, and change nothing.

    Each problem comes with its remedy; the exit code is that of the worst.

    \b
    pipeline doctor
    pipeline doctor --config pipeline.toml --format json
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.doctor import Check, examine  # noqa: PLC0415
    from pipeline.errors import worst  # noqa: PLC0415

    checks = list(examine(load_config(config_file, data)))
    console.table(list(Check.__dataclass_fields__), [list(asdict(check).values()) for check in checks], form)
    return worst(check.exit_code for check in checks)
