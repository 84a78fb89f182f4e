"""``pipeline notebook``: a notebook that is ready to run."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import config_option, load_config


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
@click.option("--jupyter", "is_jupyter", is_flag=True, help="Write an .ipynb instead of marimo's .py.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    help="The file. [default: pipeline_notebook.py, or .ipynb, in the current folder]",
)
@click.option("--force", "replaces", is_flag=True, help="Replace a file that is there.")
def notebook(folder: Path | None, config_file: Path | None, is_jupyter: bool, out: Path | None, replaces: bool) -> int:
    """Write a notebook over the snapshot of the data folder FOLDER: the recipes of `query`, and a chart of each.

    To run it, install the extra, in the checkout: pip install '.[notebook]'; for Jupyter, your own Jupyter as well.

    \b
    pipeline notebook /srv/completions && marimo edit pipeline_notebook.py
    """
    from pipeline import console  # noqa: PLC0415 - --help stays light
    from pipeline.notebook.write import notebook as write  # noqa: PLC0415

    to = out or Path(f"pipeline_notebook.{'ipynb' if is_jupyter else 'py'}")
    console.say(write(load_config(config_file, folder).data, to, is_jupyter=is_jupyter, replaces=replaces))
    return 0
