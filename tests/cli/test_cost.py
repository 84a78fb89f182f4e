"""`pipeline cost` as people call it."""

import csv
import json

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.e2e.place import NOW, Place

from .program import assert_one_message, pipeline, settings

DAYS = ("--since", "2025-09-01", "--until", "2025-10-01")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Export some completions that have a price, and one that has none."""
    folder = tmp_path_factory.mktemp("cost")
    with Place(folder) as one:
        for number in range(6):
            usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
            model = "nobody-knows" if number == 5 else "gpt-4.1-2025-04-14"
            one.add(NOW - 60 * number, model=model, usage=usage, metadata={"team": "ab"[number % 2]})
        one.file = settings(folder, one, tables=True)
        text = one.file.read_text().replace("\nbase_url", f'\napi_key = "file:{folder}/key"\nbase_url')
        one.file.write_text(f'{text}\n[cost]\nbudgets = [{{ name = "all", month = 0.01 }}]\n')
        assert_one_message(pipeline("run", "--config", one.file, "--data", one.data), 0)
        yield one


def cost(place, *arguments):
    return pipeline("cost", "--config", place.file, "--data", place.data, *arguments)


@pytest.mark.slow
def test_rows_are_exact_where_programs_read(place):
    """CSV and JSON hold every column, amounts to the last decimal; so does Parquet."""
    (priced, unpriced) = csv.DictReader(cost(place, "--by", "model", *DAYS).stdout.splitlines())
    assert (priced["cost"], priced["cost_min"], priced["requests"]) == ("0.014000000000000", "0.006500000000000", "5")
    assert (unpriced["cost"], unpriced["unpriced_requests"], unpriced["unpriced_tokens"]) == ("", "1", "1100")
    told = json.loads(cost(place, "--by", "model", "--format", "json", *DAYS).stdout)
    assert told["rows"][0]["cost"] == told["total"]["cost"] == "0.014000000000000"
    assert (told["since"], told["until"], told["tz"]) == ("2025-09-01", "2025-10-01", "UTC")
    out = place.data.parent / "cost.parquet"
    assert_one_message(cost(place, "--by", "day", "--format", "parquet", "--out", out, *DAYS), 0)
    table = pq.read_table(out)
    assert (str(table.schema.field("cost").type), str(table["cost"][0])) == ("decimal128(38, 15)", "0.014000000000000")
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_people_read_rounded_amounts_and_what_they_rest_on(place):
    """A table ends with its total; the lines below say what it rests on and what is unpriced."""
    for form, mark in (("table", "total"), ("md", "| total |")):
        done = cost(place, "--by", "metadata:team", "--format", form, *DAYS)
        assert_one_message(
            done, 0, mark, "September 2025 (UTC): $0.0065 to $0.01", "rests on:", "unpriced: 1 requests, 1,100 tokens"
        )
        assert "not the bill" in done.stdout


@pytest.mark.slow
def test_the_query_behind_the_numbers_gives_them(place):
    """What --sql prints is SQL that `pipeline query` answers with the same numbers."""
    sql = cost(place, "--by", "model", "--sql", *DAYS).stdout
    assert pipeline("query", "--data", place.data, sql).stdout == cost(place, "--by", "model", *DAYS).stdout


def test_without_days_it_is_the_month_that_the_data_end_in(place):
    """The period is the month of the data, not of today."""
    assert json.loads(cost(place, "--format", "json").stdout)["since"] == "2025-09-01"


@pytest.mark.slow
def test_budgets_are_checked(place):
    """4 with a line for each that is passed; 2 where there is none."""
    done = cost(place, "--check")
    assert_one_message(done, 4, "all: $0.0065 to $0.01 of $0.01 (140 %) - PASSED AT MOST", "budgets passed")
    assert_one_message(pipeline("cost", "--data", place.data, "--check"), 2, "the settings hold no budget")


def test_strict_fails_on_what_is_unpriced(place):
    """4 where anything has no price, after the answer."""
    done = cost(place, "--strict", *DAYS)
    assert_one_message(done, 4, "1 requests are unpriced")
    assert "0.014000000000000" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--by", "hour"), 2, "cost cannot be told by hour"),
        (("--since", "yesterday"), 2, "write it like 2026-10-31"),
        (("--since", "2025-10-01", "--until", "2025-09-01"), 2, "no day lies between"),
        (("--tz", "Mars/Base"), 2, "is not a time zone"),
        (("--prices", "1999-01-01"), 2, "there is no price set 1999-01-01"),
        (("--format", "parquet"), 2, "--out FILE"),
        (("--out", "x"), 2, "only Parquet does"),
        (("--format", "parquet", "--out", "/nowhere/x"), 2, "no folder /nowhere"),
        (("--format", "parquet", "--out", "/dev/null"), 2, "/dev/null is no file that could be replaced"),
        (("--format", "parquet", "--out", ""), 2, "no file that could be replaced"),
        (("--month", "2025-09", "--since", "2025-09-01"), 2, "a month and days were asked for"),
        (("--month", "September"), 2, "write it like 2026-10"),
        (("--check", "--by", "model"), 2, "--check tells of budgets"),
        (("--tz", "localtime"), 2, "is not a time zone"),
        (("--top", "0"), 2, "--top"),
    ],
)
def test_bad_input(place, arguments, code, said):
    """One message that says what is wrong and what to do."""
    assert_one_message(cost(place, *arguments), code, said)


def test_a_month_is_its_days(place):
    """--month asks for the days from its first to its last."""
    assert cost(place, "--by", "model", "--month", "2025-09").stdout == cost(place, "--by", "model", *DAYS).stdout


def test_prices_are_those_of_the_settings(place, tmp_path):
    """Own prices and their thresholds count as the settings have them now, not as the last run published them."""
    file = tmp_path / "prices.toml"
    own = """[cost]
    prices = [
        { model = "nobody-knows", input = 1, output = 1 },
        { model = "nobody-knows", input = 100, output = 100, above_tokens = 2000 },
    ]"""
    file.write_text(f"{place.file.read_text().partition('[cost]')[0]}\n{own}\n")
    done = pipeline("cost", "--config", file, "--data", place.data, "--by", "model", "--format", "json", *DAYS)
    assert {row["model"]: row["cost"] for row in json.loads(done.stdout)["rows"]}["nobody-knows"] == "0.001100000000000"


@pytest.mark.slow
def test_as_of_a_price_set(place):
    """With a set of prices named, it is as it was reported then."""
    assert cost(place, "--prices", "2026-11-10", *DAYS).stdout == cost(place, *DAYS).stdout


@pytest.mark.parametrize("command", [("cost",), ("report", "--month", "2025-09")])
def test_a_snapshot_of_an_older_program(tmp_path, command):
    """78 where the snapshot has no prices yet, and what makes a new one."""
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()
    done = pipeline(*command, "--data", tmp_path, cwd=tmp_path)
    assert_one_message(done, 78, "the snapshot cannot answer", "pipeline run")


def test_before_anything_was_published(tmp_path):
    """78 with what to do."""
    assert_one_message(pipeline("cost", "--data", tmp_path), 78, "nothing was published", "pipeline run")
