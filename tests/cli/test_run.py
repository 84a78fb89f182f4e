"""What `pipeline run` prints, for people, for programs and for logs."""

import json
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.result import RunResult, SourceResult
from pipeline.sandbox.faults import Fault
from tests.e2e.place import NOW, Place

from .program import KEY, PROGRAM, assert_one_message, environment, pipeline, settings


def test_the_last_line_is_the_result(place, tmp_path):
    """--json puts one object on stdout with every field of the result, and nothing else."""
    done = pipeline("run", "--json", "--config", settings(tmp_path, place, tables=True), "--data", place.data)
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(done.stdout.splitlines()) == 1
    assert set(told) == {*(field.name for field in fields(RunResult)), "exit_code"}
    assert set(told["sources"][0]) == {field.name for field in fields(SourceResult)}
    assert (told["exit_code"], told["sources"][0]["new"], told["published"]) == (0, 20, True)


def test_the_log_is_json(place, tmp_path):
    """--log-format json writes one object per line on stderr: what a first run is about to do, and failures."""
    place.server.app.faults = (Fault("401", at=3, times=0),)
    file = settings(tmp_path, place, limit=5)
    done = pipeline("run", "--log-format", "json", "--config", file, "--data", place.data)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 77
    assert [(line["level"], line["source"], line.get("exit_code")) for line in lines] == [
        ("info", "prod", None),
        ("error", "prod", 77),
    ]
    assert all({"ts", "event", "message"} <= set(line) for line in lines)


def test_the_log_is_json_where_nothing_can_be_done(tmp_path):
    """Bad settings are told in the format asked for."""
    done = pipeline("run", "--log-format", "json", "--config", tmp_path / "none.toml")
    line = json.loads(done.stderr)
    assert (done.returncode, line["level"], line["exit_code"]) == (78, "error", 78)


def test_the_summary_is_for_people(place, tmp_path):
    """It tells what came, what it cost, how far it reaches and how it ended."""
    done = pipeline("run", "--config", settings(tmp_path, place, tables=True, limit=7), "--data", place.data)
    assert_one_message(done, 0, "20 new, 0 changed, 0 skipped, 0 rejected", "data through", "retries", "lateness")
    assert f"published {place.data / 'warehouse.duckdb'}" in done.stdout
    assert done.stderr.startswith("prod: first export, about ")
    again = pipeline("run", "--config", settings(tmp_path, place, tables=True, limit=7), "--data", place.data)
    assert (again.returncode, again.stderr) == (0, "")


def test_progress_that_is_asked_for(place, tmp_path):
    """Off a terminal a moving line is shown where it is asked for, and goes away at the end."""
    file = settings(tmp_path, place, limit=7)
    done = pipeline("run", "--progress", "always", "--config", file, "--data", place.data)
    assert "prod: 1 pages" in done.stderr
    assert done.stderr.endswith("\033[K")


def test_a_failing_source_does_not_stop_the_others(place, tmp_path):
    """What the others brought is kept; the exit code is that of the worst."""
    with Place(tmp_path) as other:
        other.server.app.faults = (Fault("401", times=0),)
        done = pipeline("run", "--config", settings(tmp_path, other, place), "--data", place.data)
    assert_one_message(done, 77, "source prod: the server refuses the key", "20 new")


@pytest.mark.parametrize("command", ["run", "status"])
def test_the_settings_may_be_named_by_the_environment(place, tmp_path, command):
    """PIPELINE_CONFIG and PIPELINE_DATA are read."""
    file = settings(tmp_path, place)
    done = pipeline(command, PIPELINE_CONFIG=str(file), PIPELINE_DATA=str(place.data))
    assert_one_message(done, 0, "prod")


def test_the_environment_of_the_official_sdks_is_enough(place):
    """Key, base URL, organization and project reach the request without a settings file."""
    done = pipeline(
        "run",
        "--data",
        place.data,
        OPENAI_BASE_URL=place.server.base_url,
        OPENAI_ORG_ID="org-1",
        OPENAI_PROJECT_ID="proj_1",
    )
    assert_one_message(done, 0, "default    complete")
    for request in place.server.requests:
        told = {name: request.headers[name] for name in ("openai-organization", "openai-project", "accept-encoding")}
        assert list(told.values()) == ["org-1", "proj_1", "gzip"]
        assert request.headers["user-agent"].startswith("pipeline/")


def test_the_key_is_nowhere(place, tmp_path):
    """Neither a file of the data folder nor any output holds the key, also where the server repeats it."""
    place.server.app.faults = (Fault("400", at=4, times=0),)
    file = settings(tmp_path, place, tables=True, limit=5)
    done = pipeline("run", "--json", "--log-format", "json", "--config", file, "--data", place.data)
    shown = pipeline("config", "show", "--config", file, "--format", "json")
    assert KEY not in done.stdout + done.stderr + shown.stdout + shown.stderr
    written = [path for path in place.data.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_a_limit_is_no_failure(place, tmp_path):
    """0, and the last line says that it is not complete, why, and that a limit was it."""
    file = settings(tmp_path, place, limit=5)
    done = pipeline("run", "--config", file, "--data", place.data, "--max-pages", "1", "--only", "prod", "--json")
    (told,) = json.loads(done.stdout.splitlines()[-1])["sources"]
    assert done.returncode == 0, done.stderr
    assert (told["complete"], told["limited"]) == (False, True)
    assert told["why_not"] == "max-pages (1) was reached before the end of the list"


def full(place, tmp_path, stream, *words):
    """Run the program with one of its streams on a full disk."""
    with Path("/dev/full").open("w") as nowhere:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: nowhere}
        call = [*PROGRAM, *words, "--config", str(settings(tmp_path, place)), "--data", str(place.data)]
        return subprocess.run(call, env=environment(), text=True, check=False, **streams)


def test_a_log_that_cannot_be_written(place, tmp_path):
    """Where the log lies on a full disk the run goes on, and its result and exit code are what they are."""
    place.add(NOW - 100)
    done = full(place, tmp_path, "stderr", "run", "--json")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (0, 0)


@pytest.mark.parametrize("words", ["run", "status", "status --format table", "status --format json"])
def test_a_result_that_cannot_be_written(place, tmp_path, words):
    """Output that finds no room ends with 75 and a line that says so, not with a traceback."""
    place.run()
    done = full(place, tmp_path, "stdout", *words.split())
    assert done.returncode == 75
    assert "error: the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_that_cannot_be_written():
    """What click prints by itself ends no other way: 75, and a line instead of a traceback."""
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run(
            [*PROGRAM, "--help"], env=environment(), stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        75,
        "error: no space left while writing the output, or a file",
    )
