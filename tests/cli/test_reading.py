"""`status`, `query`, `schema` and `config`: what they print and how they end."""

import csv
import json
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import (
    COST_SETTINGS,
    DESTINATION_SETTINGS,
    ORGANIZATION_SETTINGS,
    SETTINGS,
    SOURCE_SETTINGS,
    Source,
    load,
)
from pipeline.schema import TABLES, describe
from tests.e2e.place import NOW, Place

from .program import KEY, PATIENCE, PROGRAM, assert_one_message, environment, pipeline


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Make a data folder with a published snapshot of 20 completions."""
    with Place(tmp_path_factory.mktemp("reading")) as place:
        for number in range(20):
            place.add(NOW - 600 + 10 * number)
        assert place.run().exit_code == 0
        yield place.data


# -- query ---------------------------------------------------------------------------------------------------------


def test_query_is_csv_when_piped(data):
    """Off a terminal rows are CSV with a header."""
    done = pipeline("query", "--data", data, "SELECT 1 AS a, 'x,y' AS b, NULL AS c")
    assert list(csv.reader(done.stdout.splitlines())) == [["a", "b", "c"], ["1", "x,y", ""]]


def test_query_as_json(data):
    """JSON is one list of objects, with NULL as null and nested values nested."""
    done = pipeline("query", "--data", data, "--format", "json", "SELECT NULL AS a, [1, 2] AS b, now() AS c")
    (row,) = json.loads(done.stdout)
    assert (row["a"], row["b"]) == (None, [1, 2])


def test_query_as_a_table(data):
    """A table is drawn where it is asked for, in full width, and markup in values stays text."""
    done = pipeline("query", "--data", data, "--format", "table", "SELECT '[red]' AS a, repeat('x', 100) AS b")
    assert "[red]" in done.stdout
    assert "x" * 100 in done.stdout


@pytest.mark.parametrize("form", ["csv", *(pytest.param(form, marks=pytest.mark.slow) for form in ("json", "table"))])
def test_query_without_rows(data, form):
    """No rows is no error."""
    done = pipeline("query", "--data", data, "--format", form, "SELECT id FROM completions WHERE false")
    assert_one_message(done, 0)


WRONG = (
    "SELEKT 1",
    "DELETE FROM completions",
    "ATTACH '{data}/.writer/warehouse.duckdb' AS w",
    "SELECT * FROM '{data}/parquet/completions/**/*.parquet'",
    "COPY completions TO '{data}/out.csv'",
)
ALSO_WRONG = (
    "SELECT * FROM nowhere",
    "SELECT 1/'x'",
    "CREATE TABLE t (a INT)",
    "SELECT * FROM read_text('/etc/hostname')",
    "INSTALL httpfs",
    "SET enable_external_access = true",
    "EXPORT DATABASE '{data}/out'",
)


@pytest.mark.parametrize("sql", [*WRONG, *(pytest.param(sql, marks=pytest.mark.slow) for sql in ALSO_WRONG)])
def test_query_refuses_what_is_wrong_or_reaches_out(data, sql):
    """2 with one message; nothing is read or written but the snapshot."""
    before = sorted(data.rglob("*"))
    done = pipeline("query", "--data", data, sql.format(data=data))
    assert_one_message(done, 2, "error: ")
    assert done.stdout == ""
    assert sorted(data.rglob("*")) == before


def test_query_whose_reader_has_seen_enough(data):
    """`| head -1` ends quietly, however much would follow."""
    for count in (2, 200_000):
        sql = f"SELECT range AS n FROM range({count})"
        with subprocess.Popen(
            [*PROGRAM, "query", "--data", str(data), sql],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as child:
            child.stdout.close()
            said = child.stderr.read()
            code = child.wait(PATIENCE)
        assert (code, said) == (0, b"")


@pytest.mark.parametrize(("command", "code"), [(("verify",), 0), (("status", "--max-age", "1h"), 4)])
def test_a_reader_that_has_seen_enough_hides_no_code(data, command, code):
    """The command ends with its own code where nobody reads its output, or nobody ever could."""
    for closed in ("| true", ">&-"):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {closed}; exit ${{PIPESTATUS[0]}}', "-", *PROGRAM, *command, "--data", str(data)],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=PATIENCE,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT histogram(created_date) AS h FROM completions", '"2025-09-16"'),
        ("SELECT 1::DOUBLE / 0 AS x, 'nan'::DOUBLE AS y", '"x": null, "y": null'),
    ],
)
def test_what_json_has_no_word_for(data, sql, told):
    """Keys are texts and numbers are finite in JSON: others are written as texts, and as null."""
    done = pipeline("query", "--data", data, "--format", "json", sql)
    assert_one_message(done, 0, told)
    json.loads(done.stdout, parse_constant=pytest.fail)


def test_a_table_that_nobody_reads_and_one_without_rows(data):
    """A drawn table ends with the command's own code as well; without rows its columns are shown."""
    program = [*PROGRAM, "query", "--data", str(data), "--format", "table", "SELECT 1"]
    done = subprocess.run(
        ["bash", "-c", '"$@" | (exec <&-); exit ${PIPESTATUS[0]}', "-", *program],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    empty = pipeline("query", "--data", data, "--format", "table", "SELECT id, created FROM completions WHERE false")
    assert_one_message(empty, 0, "id", "created")


def test_two_columns_of_one_name(data):
    """JSON would lose one of them: that is refused, and CSV has both."""
    sql = "SELECT 1 AS a, 2 AS a"
    assert_one_message(pipeline("query", "--data", data, "--format", "json", sql), 2, "two columns are named a")
    assert pipeline("query", "--data", data, "--format", "csv", sql).stdout == "a,a\n1,2\n"


def test_letters_that_the_output_does_not_know(data):
    """They are written by their numbers, and end nothing."""
    done = pipeline("query", "--data", data, "SELECT '\u65e5' AS a", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, "a\n\\u65e5\n")


def test_a_data_folder_that_is_not_there(tmp_path):
    """A name may be mistyped: 78 with what to look at."""
    for command in (("query", "SELECT 1"), ("cost",)):
        done = pipeline(*command, "--data", tmp_path / "nowhere")
        assert_one_message(done, 78, "there is no data folder at", "look at --data")
    (tmp_path / "link").symlink_to("disk")
    for command in (("status",), ("run",)):
        done = pipeline(*command, "--data", tmp_path / "link")
        assert_one_message(done, 78, "is a link to disk, which is not there", "mount or make it")


def test_query_before_anything_was_published(tmp_path):
    """78 with what to do."""
    assert_one_message(pipeline("query", "--data", tmp_path, "SELECT 1"), 78, "nothing was published", "pipeline run")


# -- status --------------------------------------------------------------------------------------------------------


def test_status_tells_how_far_each_source_is(data):
    """One row per source of the archive, with how far it is complete."""
    done = pipeline("status", "--data", data, "--format", "json")
    (row,) = [row for row in json.loads(done.stdout) if row["source"] == "prod"]
    assert (row["complete"], row["versions"], row["data_through"][:16]) == (True, 20, "2025-09-16T05:20")


def test_status_checks_the_age(data):
    """4 where the data end longer ago than allowed, with the source; 0 where they do not."""
    assert_one_message(pipeline("status", "--data", data, "--max-age", "26h"), 4, "the data of prod end longer ago")
    assert_one_message(pipeline("status", "--data", data, "--max-age", "36500d"), 0)


def test_status_of_nothing_is_stale(tmp_path):
    """What was never exported is not fresh."""
    assert_one_message(pipeline("status", "--data", tmp_path / "none"), 0, "never exported")
    assert_one_message(pipeline("status", "--data", tmp_path / "none", "--max-age", "26h"), 4)


def test_status_with_an_age_that_is_none(tmp_path):
    """2 with how to write one."""
    assert_one_message(pipeline("status", "--data", tmp_path, "--max-age", "soon"), 2, "must be a duration")


# -- schema --------------------------------------------------------------------------------------------------------


def test_schema_tells_every_column():
    """Every column of every table, with type and sentence."""
    rows = json.loads(pipeline("schema", "--format", "json").stdout)
    told = {(row["table"], row["column"]): row["description"] for row in rows}
    assert told == {(name, one.name): describe(one) for name, table in TABLES.items() for one in table.columns}
    assert all(told.values())


def test_schema_of_one_table():
    """One table by name; an unknown one is told with those there are."""
    rows = json.loads(pipeline("schema", "choices", "--format", "json").stdout)
    assert {row["table"] for row in rows} == {"choices"}
    assert_one_message(pipeline("schema", "nothing"), 2, "there is no table nothing", "completions")


# -- config --------------------------------------------------------------------------------------------------------


def test_init_writes_what_check_takes(tmp_path):
    """The file that init makes is valid, private, and is never overwritten."""
    file = tmp_path / "pipeline.toml"
    assert_one_message(pipeline("config", "init", file), 0, str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert_one_message(pipeline("config", "check", "--config", file), 0, "ok: 1 source(s): default")
    file.write_text("mine", encoding="utf-8")
    assert_one_message(pipeline("config", "init", file), 2, "cannot be made")
    assert file.read_text(encoding="utf-8") == "mine"


def test_init_shows_every_setting_with_its_default(tmp_path):
    """With every # taken away the file is still valid, and each setting stands in it once."""
    file = tmp_path / "pipeline.toml"
    pipeline("config", "init", file)
    lines = [line.removeprefix("# ") for line in file.read_text(encoding="utf-8").splitlines()]
    text = "\n".join(line for line in lines if line.startswith("[") or " = " in line)
    told = tomllib.loads(text)
    assert set(told) == {*SETTINGS, "sources", "destinations", "cost", "organization"}
    assert set(told["sources"]["default"]) == set(SOURCE_SETTINGS)
    assert set(told["destinations"]) == set(DESTINATION_SETTINGS)
    assert set(told["cost"]) == set(COST_SETTINGS)
    assert set(told["organization"]) == set(ORGANIZATION_SETTINGS)
    file.write_text(text, encoding="utf-8")
    examples = {"organization": None, "project": None, "model": None, "metadata": {}, "ca_file": None}
    examples["metadata_keys"] = None
    loaded = load(file, {})
    assert replace(loaded.sources[0], **examples) == Source("default")
    assert (loaded.data, loaded.share, loaded.parquet, loaded.duckdb) == (Path("data"), "none", True, True)


def test_check_looks_for_the_keys():
    """77 where a key that the settings name is not there."""
    assert_one_message(pipeline("config", "check", OPENAI_API_KEY=""), 77, "OPENAI_API_KEY")


def test_show_tells_where_each_setting_comes_from(tmp_path):
    """Every setting with its value and origin; keys are named, never shown."""
    done = pipeline("config", "show", "--format", "json", "--data", tmp_path, OPENAI_PROJECT_ID="proj_1")
    rows = {row["setting"]: (row["value"], row["from"]) for row in json.loads(done.stdout)}
    assert rows["data"] == (str(tmp_path), "--data")
    assert rows["sources.default.project"] == ("proj_1", "environment")
    assert rows["sources.default.api_key"] == ("env:OPENAI_API_KEY", "default")
    tables = (SETTINGS, SOURCE_SETTINGS, DESTINATION_SETTINGS, COST_SETTINGS, ORGANIZATION_SETTINGS)
    assert len(rows) == sum(map(len, tables))
    assert KEY not in done.stdout
