"""Help answers at once and tells the truth."""

import inspect
import json
import shlex
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_every_command_shows_how_it_is_called(command, tmp_path, monkeypatch):
    """Each help has an example of its command, and every example is taken by the command line as it stands there."""
    monkeypatch.chdir(tmp_path)
    Path("saved.jsonl").touch()  # what the example of adopt names
    path = ["pipeline", *command]
    examples = [
        words[words.index("pipeline") :]
        for line in inspect.cleandoc(_found(path).help).partition("\b\n")[2].splitlines()
        if "pipeline" in (words := _words(line))
    ]
    assert any(example[: len(path)] == path for example in examples)
    for example in examples:
        taken = _found(example)
        depth = 3 if example[1] == "config" else 2
        taken.make_context(" ".join(example[:depth]), example[depth:])


def _words(line):
    """Split an example as a shell would, up to what a shell does with the output; nothing where it is prose."""
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    end = next((number for number, word in enumerate(words) if word in {">", "|", "&&"}), len(words))
    return words[:end]


def _found(path):
    """Return the command that is called so."""
    command = cli.commands[path[1]]
    return command.commands[path[2]] if path[1] == "config" and len(path) > 2 else command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell):
    """Each shell gets its script, and then the commands, with what they do where the shell can show it."""
    asked = environment(_PIPELINE_COMPLETE=f"{shell}_source")
    script = subprocess.run([f"{sys.prefix}/bin/pipeline"], capture_output=True, text=True, check=True, env=asked)
    assert "_PIPELINE_COMPLETE" in script.stdout
    words = {"COMP_WORDS": "pipeline re", "COMP_CWORD": "re" if shell == "fish" else "1"}
    asked = environment(_PIPELINE_COMPLETE=f"{shell}_complete", **words)
    told = subprocess.run([f"{sys.prefix}/bin/pipeline"], capture_output=True, text=True, check=True, env=asked)
    assert [name for name in ("rebuild", "reconcile", "report", "run") if name in told.stdout] == [
        "rebuild",
        "reconcile",
        "report",
    ]


def test_asking_a_server_loads_nothing_that_draws():
    """The door of httpx leaves the command line of that out, and what it draws with: every run would wait for them."""
    code = (
        "import sys, pipeline.extract.transport; print([name for name in ('rich', 'pygments') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "[]\n"
