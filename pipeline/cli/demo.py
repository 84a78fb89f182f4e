"""``pipeline demo``: the complete job, twice, on a server that behaves like the real one."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("demo-data"),
    show_default=True,
    help="A new or empty folder, or the one of an earlier demo, which is made anew.",
)
@click.option("--completions", default=5000, show_default=True, help="How many to store, spread over a month.")
def demo(data: Path, completions: int) -> int:
    """Start the sandbox with a month of completions, export them, store more, and export what is new.

    \b
    pipeline demo
    pipeline demo --data /tmp/demo --completions 50000
    """
    from pipeline.demo import require_sandbox  # noqa: PLC0415 - --help stays light

    require_sandbox()
    from pipeline.demo import show  # noqa: PLC0415

    return show(data, completions=completions)
