"""``pipeline config``: check, show and make settings."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline.cli.options import config_option, format_option, load_config, settings


@click.group()
def config() -> None:
    """Check, show or make the settings.

    \b
    pipeline config init && pipeline config check --config pipeline.toml
    """


@config.command()
@config_option
def check(config_file: Path | None) -> int:
    """Read the settings and every key that they name; ask no server.

    \b
    pipeline config check --config pipeline.toml
    """
    from pipeline.secret import check_reference, fetch, resolve  # noqa: PLC0415 - --help stays light

    loaded = load_config(config_file, None)
    for source in loaded.sources:
        resolve(source.api_key, source=source.name)
    for name, value in loaded.delta_options.items():
        if not check_reference(value):
            fetch(value, owner="destination delta", setting=f"destinations.delta_options.{name}")
    if loaded.organization.admin_key is not None:
        fetch(loaded.organization.admin_key, owner="organization", setting="organization.admin_key")
    click.echo(f"ok: {len(loaded.sources)} source(s): {', '.join(source.name for source in loaded.sources)}")
    return 0


@config.command()
@settings
@format_option
def show(config_file: Path | None, data: Path | None, form: str) -> int:
    """Show every setting in force and where it comes from; keys are named, never shown.

    \b
    pipeline config show --config pipeline.toml
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.config import in_force  # noqa: PLC0415

    console.table(("setting", "value", "from"), in_force(load_config(config_file, data)), form)
    return 0


@config.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("pipeline.toml"))
def init(path: Path) -> int:
    """Write a commented settings file to PATH (pipeline.toml); an existing file is not touched.

    \b
    pipeline config init /etc/pipeline.toml
    """
    from pipeline.config import TEMPLATE  # noqa: PLC0415 - --help stays light
    from pipeline.errors import UsageError  # noqa: PLC0415

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}", hint="name another file") from error
    with os.fdopen(handle, "wb") as file:
        file.write(TEMPLATE.read_bytes())
    click.echo(f"wrote {path}; next: pipeline config check --config {path}")
    return 0
