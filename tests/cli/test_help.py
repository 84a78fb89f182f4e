"""Help answers at once and tells the truth."""

import json
import subprocess
import sys

import pytest

from pipeline.cli.main import cli
from pipeline.console import EXIT_CODES
from pipeline.errors import PRECEDENCE

from .program import environment, pipeline

HEAVY = ("pyarrow", "duckdb", "httpx", "tenacity", "rich", "uvicorn", "starlette")
COMMANDS = [[], *([name] for name in cli.commands), *(["config", name] for name in cli.commands["config"].commands)]
#: Prints, as its last line, which heavy modules a call imported.
_LOOK = """
import json, sys
from pipeline.__main__ import main
try:
    main()
finally:
    print("\\n" + json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_light(command):
    """No command's help imports what it takes long to import."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOK.format(heavy=HEAVY), *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert "Usage: pipeline" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_exit_codes_of_the_help_are_those_of_the_program():
    """The table in --help is the one in the code, which knows every code that an error has."""
    told = pipeline("--help").stdout.partition("Exit codes:\n")[2]
    lines = {int(code): meaning for code, _, meaning in (line.strip().partition("  ") for line in told.splitlines())}
    assert lines == EXIT_CODES
    assert set(PRECEDENCE) <= set(EXIT_CODES)


def test_the_console_script_is_the_module():
    """`pipeline` and `python -m pipeline` answer alike."""
    script = subprocess.run(
        [f"{sys.prefix}/bin/pipeline", "--help"], capture_output=True, text=True, check=True, env=environment()
    )
    assert script.stdout == pipeline("--help").stdout


def test_every_option_says_what_it_does():
    """Each option has a sentence, or a name and default that say it all."""
    dumb = {"host", "seed", "cursor", "default_order", "max_limit", "log_format", "version", "help"}
    options = [one for command in cli.commands.values() for one in command.params if one.param_type_name == "option"]
    assert [one.name for one in options if not one.help and one.name not in dumb] == []
