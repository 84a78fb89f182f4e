"""``pipeline forget``: completions that must go, everywhere, for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import load_config, settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@settings
@click.option("--id", "ids", multiple=True, metavar="ID", help="A completion (repeatable).")
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    help="All with these metadata in any version (repeatable: all of them).",
)
@click.option("--upstream", is_flag=True, help="Delete them at the source too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path | None,
    data: Path | None,
    ids: tuple[str, ...],
    metadata: tuple[str, ...],
    upstream: bool,
    yes: bool,
) -> int:
    """Forget completions everywhere in the data folder, and never take them in again.

    Archive, blobs, Parquet, DuckDB, Delta and snapshot are rewritten without them; of each only the id's hash stays.
    Interrupted, it is finished by the next run. What is out of reach (copies, backups, open notebooks) is named.
    With --upstream, what was found by metadata is deleted where it was found, and an --id at every source.

    \b
    pipeline forget --data FOLDER --id chatcmpl-123
    pipeline forget --metadata user=42 --upstream
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.errors import UsageError  # noqa: PLC0415
    from pipeline.forget import forget as forget_all  # noqa: PLC0415

    pairs = [pair.partition("=") for pair in metadata]
    if not (ids or pairs):
        raise UsageError("say which completions to forget", hint="--id ID, or --metadata KEY=VALUE")
    if wrong := [pair for pair, (key, is_pair, _) in zip(metadata, pairs, strict=True) if not (key and is_pair)]:
        raise UsageError(f"--metadata: {wrong[0]!r} is no KEY=VALUE", hint="such as --metadata user=42")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise UsageError(
            "--metadata names one key more than once, and no completion has two values of it",
            hint="forget what has the one, then what has the other",
        )

    config = load_config(config_file, data)

    def confirm(count: int) -> bool:
        where = " and delete them at the source" if upstream else ""
        what = f"{console.counted(count, 'completion')} in {config.data}{where}"
        return yes or click.confirm(f"Forget {what}? This cannot be undone", err=True)

    done = forget_all(
        config,
        ids=ids,
        metadata={key: value for key, _, value in pairs},
        upstream=upstream,
        confirm=confirm,
    )
    console.say(console.forgotten(done))
    if done.failure:
        raise done.failure
    return 0
