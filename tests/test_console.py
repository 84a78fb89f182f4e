"""What people see, word for word where the words matter."""

import dataclasses
import io
import json
import sys
from datetime import UTC, datetime

import pytest

from pipeline import console
from pipeline.errors import PRECEDENCE, PipelineError, ServerError, worst
from pipeline.result import Finding, Progress, RunResult, SourceResult

MOMENT = datetime(2026, 1, 10, tzinfo=UTC)
START = int(MOMENT.timestamp())


def progress(reached, *, kept=500, server_time=START + 1000):
    return Progress("prod", 5, kept, 10_000, None, reached, server_time)


def test_progress_names_pages_rows_rate_and_date():
    """Pages, completions, rate and the date that the walk has reached."""
    line = console.describe(progress(START + 10), seconds=10, first=START)
    assert line == "prod: 5 pages, 500 completions kept, 50/s, reached 2026-01-10 00:00:10 UTC"


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"messages": 1200}, "prod: input messages of 1,200 completions kept, 5 pages so far"),
        ({"is_sweep": True, "messages": 1200}, "prod: sweeping, 5 pages so far"),
    ],
)
def test_progress_tells_what_follows_the_walk(where, told):
    """Input messages and a sweep have no date to go by, but are not silent."""
    assert console.describe(dataclasses.replace(progress(None), **where), seconds=10, first=START) == told


@pytest.mark.parametrize(
    ("reached", "seconds", "told"),
    [
        (START + 500, 600, "about 10 min left if traffic was even"),
        (START + 10, 600, None),
        (START + 500, 0.5, None),
        (START + 1000, 600, None),
        (None, 600, None),
    ],
    ids=["half way", "hardly begun", "too soon", "at the end", "nothing listed"],
)
def test_an_estimate_is_told_only_where_it_rests_on_something(reached, seconds, told):
    """Not before some of the span is walked, nor when nothing is left."""
    line = console.describe(progress(reached), seconds=seconds, first=START)
    assert line.endswith(told) if told else "left" not in line


def test_off_a_terminal_progress_is_a_line_now_and_then(capsys):
    """A quick run says nothing between begin and end."""
    reporter = console.Reporter(console.Log(), is_live=False)
    for _ in range(100):
        reporter(progress(START))
    reporter.end()
    assert capsys.readouterr().err == ""


def test_the_summary_names_what_is_not_complete(tmp_path):
    """State, reason, hint, counts and findings of each source, and the exit code with its meaning."""
    source = SourceResult(
        "prod", 75, False, MOMENT, "503 overloaded", "run again later", new=1200, largest_lateness=7200, bytes=1_234_567
    )
    result = RunResult("id", MOMENT, MOMENT, (source,), findings=(Finding("code", "look here"),))
    told = console.summary(result, tmp_path)
    for words in (
        "prod       NOT COMPLETE, data through 2026-01-10 00:00:00 UTC",
        "503 overloaded",
        "run again later",
        "1,200 new, 0 changed, 0 skipped, 0 rejected",
        "largest lateness 2 h; 0 pages, 0 retries, 1.2 MB",
        "look here",
        f"exit       75, {console.EXIT_CODES[75]}",
    ):
        assert words in told


def test_errors_as_text_and_as_json(capsys):
    """The message, then the hint; as JSON with kind and code."""
    error = ServerError("it is down", hint="wait")
    console.Log().explain(error)
    console.Log("json").explain(error)
    text, line = capsys.readouterr().err.rsplit("{", 1)
    assert text == "error: it is down\n  wait\n"
    assert json.loads("{" + line).items() >= {"event": "ServerError", "exit_code": 75, "level": "error"}.items()


def test_every_error_has_an_exit_code_of_the_table():
    """Whatever is raised on purpose ends with a code that --help explains."""

    def kinds(one):
        return {one}.union(*map(kinds, one.__subclasses__()))

    assert {kind.exit_code for kind in kinds(PipelineError)} <= set(console.EXIT_CODES)


def test_the_worst_code_speaks_for_all():
    """The order of design §8."""
    assert [worst(PRECEDENCE[number:][::-1]) for number in range(len(PRECEDENCE))] == list(PRECEDENCE)
    assert worst([]) == 0


@pytest.mark.parametrize("form", ["csv", "json"])
def test_values_that_have_no_text_of_their_own(capsys, form):
    """NULL, times, nested values and bytes are written as readers of the form expect."""
    row = (None, MOMENT, [1, {"a": "é"}], b"\x01")
    console.table(("a", "b", "c", "d"), [row], form)
    told = capsys.readouterr().out
    if form == "json":
        (shown,) = json.loads(told)
        assert shown == {"a": None, "b": "2026-01-10T00:00:00+00:00", "c": [1, {"a": "é"}], "d": "01"}
    else:
        assert told == 'a,b,c,d\n,2026-01-10 00:00:00+00:00,"[1, {""a"": ""é""}]",01\n'


def test_a_drawn_table_is_plain_off_a_terminal(monkeypatch):
    """No colour, no squeezing to 80 columns, and control characters are made visible."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console.table(("text",), [("x" * 150,), ("\x1b[31m",)], "table")
    told = sys.stdout.getvalue()
    assert "x" * 150 in told
    assert "\x1b" not in told
