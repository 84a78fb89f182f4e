"""On a terminal, a real one: progress moves, tables are drawn, and nobody's text steers the screen."""

import os
import pty
import subprocess

import pytest

from tests.e2e.place import NOW

from .program import PATIENCE, PROGRAM, environment, pipeline, settings


def on_a_terminal(*arguments, **env):
    """Run the program with all three streams on a terminal; return its exit code and what the screen was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm", **env),
    ) as child:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # Linux tells the end of a terminal by an error
        os.close(ours)
        return child.wait(PATIENCE), shown.decode()


@pytest.fixture
def file(place, tmp_path):
    """Write settings for a walk of several pages over rows that would steer a screen."""
    place.add(NOW - 5, metadata={"[red]": "\033[2Jgone"})
    return settings(tmp_path, place, tables=True, limit=5, overlap="1h")


def test_progress_moves(place, file):
    """One line is written over and over, and is gone before the summary comes."""
    code, shown = on_a_terminal("run", "--config", file, "--data", place.data)
    assert code == 0
    assert shown.count("\r\033[Kprod: ") >= 4
    assert shown.rpartition("\r\033[K")[2].startswith("prod       complete")


@pytest.mark.slow
def test_a_log_of_json_is_not_disturbed(place, file):
    """Nothing moves where a program reads the log."""
    _, shown = on_a_terminal("run", "--log-format", "json", "--config", file, "--data", place.data)
    assert "\033[K" not in shown


@pytest.mark.slow
def test_query_draws_a_table(place, file):
    """Columns stand under a rule; what people stored cannot steer the terminal, and is not taken for markup."""
    assert pipeline("run", "--config", file, "--data", place.data).returncode == 0
    code, shown = on_a_terminal("query", "--data", place.data, "SELECT metadata, 1234 AS n FROM completions")
    assert code == 0
    assert "─────" in shown
    assert "1,234" in shown
    assert "[red]" in shown
    assert "\033[2J" not in shown


def test_a_table_that_has_no_room_is_a_list(place, file):
    """On a narrow terminal no value is lost, and no number broken: each row is told column by column."""
    assert pipeline("run", "--config", file, "--data", place.data).returncode == 0
    code, shown = on_a_terminal("query", "--data", place.data, "SELECT * FROM completions LIMIT 1", COLUMNS="80")
    lines = dict(line.split(None, 1) for line in shown.splitlines() if len(line.split(None, 1)) > 1)
    assert code == 0
    assert lines["id"].startswith("id-")
    assert lines["source"] == "prod"


@pytest.mark.slow
def test_status_can_be_read(place, file):
    """What is known of a source stands one below the other, with what it is called; what is not known is left out."""
    assert pipeline("run", "--config", file, "--data", place.data).returncode == 0
    code, shown = on_a_terminal("status", "--config", file, "--data", place.data)
    lines = dict(line.split(None, 1) for line in shown.splitlines() if line)
    assert (code, lines["source"], lines["complete"]) == (0, "prod", "True")
    assert lines["data_through"].endswith(" UTC")
    assert "why_not" not in lines
