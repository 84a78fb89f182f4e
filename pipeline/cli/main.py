"""The group of all commands, and how errors become exit codes."""

from __future__ import annotations

import io
import os
import sys

import click

from pipeline import console, files
from pipeline.cli.adopt import adopt
from pipeline.cli.archive import archive
from pipeline.cli.config import config
from pipeline.cli.cost import cost
from pipeline.cli.demo import demo
from pipeline.cli.doctor import doctor
from pipeline.cli.focus import focus
from pipeline.cli.forget import forget
from pipeline.cli.notebook import notebook
from pipeline.cli.query import query
from pipeline.cli.rebuild import rebuild
from pipeline.cli.reconcile import reconcile
from pipeline.cli.report import report
from pipeline.cli.run import run
from pipeline.cli.sandbox import sandbox
from pipeline.cli.schema import schema
from pipeline.cli.status import status
from pipeline.cli.sweep import sweep
from pipeline.cli.verify import verify
from pipeline.console import EXIT_CODES, Log
from pipeline.errors import PipelineError
from pipeline.version import __version__

_EXITS = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class _Commands(click.Group):
    """Goes on where whoever reads our output has seen enough, as `head` expects, or nobody ever did."""

    def invoke(self, context: click.Context) -> int:
        """Run a command and hand all of its output over."""
        if sys.stdout is None:  # closed by who started us
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the terminal does not know ends nothing
        code = 0
        try:
            code = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError:
            console.to_nobody()
        return code


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"\b\nExit codes:\n{_EXITS}",
)
@click.version_option(__version__, prog_name="pipeline")
def cli() -> None:
    """Keep every stored chat completion, exactly once: API to archive, Parquet and DuckDB."""


for command in (
    run,
    status,
    verify,
    sweep,
    rebuild,
    forget,
    adopt,
    archive,
    doctor,
    reconcile,
    query,
    notebook,
    cost,
    report,
    focus,
    schema,
    config,
    demo,
    sandbox,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and end the process with the right code."""
    try:
        code = cli.main(prog_name="pipeline", standalone_mode=False)
    except PipelineError as error:
        Log().explain(error)
        code = error.exit_code
    except OSError as error:  # what no stage expected; nobody need read a traceback to learn of a disk
        if (told := files.failing(error, error.filename or "the output, or a file") or files.refused(error)) is None:
            raise
        if error.filename is None:
            sys.stdout = None  # what waits to be written would fail again at exit, and be the exit code
        Log().explain(told)
        code = told.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        Log().say("warning", "stopped", "stopped")
        code = 130
    sys.exit(code)
