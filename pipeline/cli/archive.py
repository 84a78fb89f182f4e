"""``pipeline archive``: a copy of the archive elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def archive() -> None:
    """Keep a copy of the archive elsewhere, and get it back from there.

    URL is a folder, or an object store: s3://bucket/prefix, gs://…, az://…, with address and keys in the environment.

    \b
    pipeline archive push s3://backups/completions
    """


@archive.command()
@click.argument("url")
@settings
def push(url: str, config_file: Path | None, data: Path | None) -> int:
    """Copy what is new in the archive to URL, read it back, and compare it by hash.

    Refused where the archive does not go on from what is there. What was forgotten since is removed there too.

    \b
    pipeline archive push s3://backups/completions --data FOLDER
    """
    from pipeline import console, remote  # noqa: PLC0415 - --help stays light

    console.say(console.copied(remote.push(load_config(config_file, data), url), "pushed"))
    return 0


@archive.command()
@click.argument("url")
@settings
def pull(url: str, config_file: Path | None, data: Path | None) -> int:
    """Make the archive in the data folder what was pushed to URL last: restore it, repair it, or follow it.

    Only what is missing or damaged is copied, and compared by hash. `pipeline rebuild` makes the tables from it.

    \b
    pipeline archive pull s3://backups/completions --data FOLDER && pipeline rebuild --data FOLDER
    """
    from pipeline import console, remote  # noqa: PLC0415 - --help stays light

    console.say(console.copied(remote.pull(load_config(config_file, data), url), "pulled"))
    return 0


@archive.command(name="list")
@click.argument("url")
def list_(url: str) -> int:
    """Print the URL of every segment that was pushed to URL, one to a line, for other engines to read.

    \b
    pipeline archive list s3://backups/completions
    """
    from pipeline import console, remote  # noqa: PLC0415 - --help stays light

    for segment in remote.segment_urls(url):
        console.say(segment)
    return 0
