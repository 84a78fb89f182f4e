"""What the README shows of the program is what the program does."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import TEMPLATE
from pipeline.console import EXIT_CODES
from tests.guards import GUARDS
from tests.truth.test_verify import DAMAGES

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
#: Seconds differ from run to run, sizes between versions of the libraries.
NOTEBOOK = README.parent / ".venv-notebook"
#: What only the notebook's environment has.
OF_OTHERS = re.compile(r"^import (?:pandas|polars|ibis)\b", re.MULTILINE)
VOLATILE = re.compile(r"\d+\.\d (?:s|MB)\b| +")


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def snippets() -> list[str]:
    """Return the Python snippets that need neither a server nor Delta tables, whose tests try theirs."""
    return [snippet for snippet in blocks("python") if "pipeline.run" not in snippet and "delta" not in snippet]


def consoles() -> dict[str, str]:
    """Return what the README shows behind each command."""
    return dict(block.removeprefix("$ ").split("\n", 1) for block in blocks("console"))


def same(text: str) -> str:
    """Return a text without what may differ."""
    return "\n".join(VOLATILE.sub(" ", line).strip() for line in text.strip().splitlines())


def run(command: str, folder: Path) -> str:
    """Run a command of the README as its reader would."""
    name, *arguments = shlex.split(command)
    assert name == "pipeline"
    call = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run the demo, as make does, in an empty folder."""
    folder = tmp_path_factory.mktemp("reader")
    return folder, run("pipeline demo", folder)


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(demo):
    """The output of make demo in the README is that of the program, but for seconds and sizes."""
    assert same(demo[1]) == same(consoles()["make demo"])


@pytest.mark.parametrize("command", [command for command in consoles() if command != "make demo"])
def test_every_command_shown_answers_as_shown(demo, command):
    """Each console block of the README is what the command prints in the demo's folder."""
    assert same(run(command, demo[0])) == same(consoles()[command])


def test_every_python_snippet_runs(demo, monkeypatch):
    """The snippets run as they stand, on the demo's data folder; only the one that exports needs a server."""
    monkeypatch.chdir(demo[0])
    for snippet in snippets():
        if not OF_OTHERS.search(snippet):
            exec(compile(snippet, str(README), "exec"), {})  # noqa: S102 - the README is ours


@pytest.mark.slow
@pytest.mark.skipif(
    not (NOTEBOOK / "made").exists(),
    reason="pandas, polars and ibis are not here: `make .venv-notebook/made` installs them",
)
def test_every_python_snippet_runs_where_the_other_libraries_are(demo):
    """The same snippets in the notebook's environment, one after the other, each in a process of its own."""
    assert sum(bool(OF_OTHERS.search(snippet)) for snippet in snippets()) == 2
    for snippet in snippets():
        call = [NOTEBOOK / "bin" / "python", "-c", snippet]
        done = subprocess.run(call, cwd=demo[0], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_settings_and_exit_codes_are_those_of_the_program():
    """The settings file and the table of exit codes are copied to the letter."""
    assert blocks("toml") == [TEMPLATE.read_text(encoding="utf-8")]
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.MULTILINE)) == {
        str(code): meaning for code, meaning in EXIT_CODES.items()
    }


def test_the_guard_table_is_the_one_that_is_tested():
    """Every guard that the tests trigger is in the README, with its next step and exit code."""
    shown = re.findall(r"^\| (.+?) \| `(.+?)` \| (.+?) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert shown == [(guard.name, guard.fault, guard.next_step, str(guard.exit_code)) for guard in GUARDS]


def test_the_damage_table_is_the_one_that_is_tested():
    """Every damage that the tests do is in the README, with what verify calls it and what mends it."""
    shown = re.findall(r"^\| (.+?) \| `(.+?)` \| (?:`(.+?)`|a backup) \|$", TEXT, re.MULTILINE)
    tested = [(name, kind, f"pipeline rebuild {by}" if by else "") for name, (_, kind, by) in DAMAGES.items()]
    assert shown == [*tested, ("a completion listed and not held", "listed-not-held", "pipeline sweep")]


def test_every_picture_is_there():
    """The pictures that the README shows lie where it says, and the terminal's asks nobody for anything."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert [name for name in shown if not (README.parent / name).is_file()] == []
    drawn = (README.parent / ".pictures" / "terminal.svg").read_text(encoding="utf-8")
    assert re.findall(r"url\((?!#)|href|https?://(?!www\.w3\.org/2000/svg)", drawn) == []


def test_every_finding_is_in_the_readme():
    """The table of findings has each that a run can make, once, and no other."""
    made = {
        node.args[0].value
        for path in (README.parent / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding"
    }
    table = TEXT.partition("### Findings")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(made)
