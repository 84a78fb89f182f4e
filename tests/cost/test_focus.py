"""A FOCUS file says what `cost_by_completion` says, to the last decimal, and nothing that may not leave."""

from __future__ import annotations

import csv
import json
import random
import re
import stat
import subprocess
from collections import defaultdict
from decimal import Decimal
from itertools import combinations

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.cost import focus
from pipeline.cost.period import read_month
from pipeline.cost.pricing import CLASSES
from tests.cli.program import PATIENCE, PROGRAM, assert_one_message, environment, pipeline

from .focus_data import COST, FIRST, FOREIGN, HOSTILE, MONTH, folder, rows
from .warehouse import completion, warehouse

ACCOUNTS = (
    focus.account("prod", "https://eu.api.openai.com/v1", "org-1", "proj_1"),
    focus.account("azure", "https://res.openai.azure.com/openai/v1", None, None),
)
MONEY = ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost", "x_CostMin")


def asked(connection, sql):
    """Return rows as dictionaries."""
    answer = connection.execute(sql)
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def told(connection):
    """Return the rows of the month."""
    return asked(connection, focus.statement(read_month(MONTH), ACCOUNTS, COST))


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Return the month's rows, and the priced completions that they are made of."""
    with warehouse(tmp_path_factory.mktemp("month") / "w.duckdb", rows(), COST) as connection:
        whole = "created_date BETWEEN DATE '2026-10-01' AND DATE '2026-10-31'"
        yield told(connection), asked(connection, f"SELECT * FROM cost_by_completion WHERE {whole}")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Publish the month and write it in both formats; return where, and the options that name it."""
    path = tmp_path_factory.mktemp("published")
    options = folder(path, rows(hostile=(*HOSTILE, *FOREIGN)))
    for form in ("csv", "parquet"):
        out = path / f"focus.{form}"
        done = pipeline("focus", *options, "--month", MONTH, "--format", form, "--out", out)
        assert_one_message(done, 0, "have no price")
    return path, options


@pytest.fixture(scope="module")
def lines(published):
    """Return the rows of the CSV file, as a reader of CSV sees them."""
    with (published[0] / "focus.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# -- sums ----------------------------------------------------------------------------------------------------------

DIMENSIONS = {
    "day": (lambda row: row["ChargePeriodStart"].date(), lambda one: one["created_date"]),
    "source": (lambda row: row["x_Source"], lambda one: one["source"]),
    "model": (lambda row: row["SkuId"], lambda one: one["model"]),
    "tier": (lambda row: row["x_ServiceTier"], lambda one: one["service_tier"]),
    "basis": (lambda row: row["x_CostBasis"], lambda one: one["basis"]),
    "team": (lambda row: json.loads(row["Tags"]).get("team"), lambda one: one["metadata"].get("team")),
}


def grouped(items, keys, value):
    """Sum values by keys."""
    sums = defaultdict(Decimal)
    for item in items:
        sums[tuple(key(item) for key in keys)] += value(item) or 0
    return dict(sums)


@pytest.mark.parametrize(
    "names", [names for size in range(3) for names in combinations(DIMENSIONS, size)], ids="-".join
)
@pytest.mark.parametrize(("column", "value"), [("EffectiveCost", "cost"), ("x_CostMin", "cost_min")])
def test_any_grouping_sums_to_what_the_completions_cost(month, names, column, value):
    """Both bounds, to the last decimal; groups of which FOCUS has no row cost nothing."""
    file, completions = month
    ours = grouped(file, [DIMENSIONS[name][0] for name in names], lambda row: row[column])
    truth = grouped(completions, [DIMENSIONS[name][1] for name in names], lambda one: one[value])
    assert {key: ours.get(key, 0) for key in truth} == truth
    assert ours.keys() <= truth.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_of_tokens_sums_to_its_own_cost(month, name):
    """Tokens and cost by class are those of the completions; what has no price counts as plain input and output."""
    file, completions = month
    lines = [row for row in file if row["x_TokenType"] == name]
    plain = {"input": "prompt_tokens", "output": "completion_tokens"}.get(name)
    tokens = sum(
        (one[plain] or 0 if plain else 0) if one["unpriced_because"] else one[f"{name}_tokens"] for one in completions
    )
    assert sum(row["x_ConsumedTokens"] or 0 for row in lines) == tokens
    assert sum(row["ContractedCost"] for row in lines) == sum(one[f"{name}_cost"] or 0 for one in completions)
    assert sum(row["ListCost"] for row in lines) == sum(
        one[f"{name}_tokens"] * one[f"{name}_list_rate"] for one in completions if one[f"{name}_tokens"]
    )


def test_quantity_times_unit_price_is_the_cost(month):
    """Exactly, in every row: what was priced at several rates has several rows."""
    priced = [row for row in month[0] if row["SkuPriceId"]]
    assert len(priced) > 300
    for row in priced:
        assert row["PricingQuantity"] * row["ContractedUnitPrice"] == row["ContractedCost"] == row["EffectiveCost"]
        assert row["PricingQuantity"] * row["ListUnitPrice"] == row["ListCost"]
        assert row["PricingQuantity"] * 1_000_000 == row["ConsumedQuantity"] == row["x_ConsumedTokens"]


def test_discounts_lie_between_list_and_contracted(month):
    """A discounted source costs less than at list price, own prices are both, and the id of a price tells one price."""
    priced = [row for row in month[0] if row["SkuPriceId"]]
    by_source = {row["x_Source"]: row for row in priced if row["SkuId"] == "o3" and row["x_TokenType"] == "output"}
    assert by_source["azure"]["ContractedUnitPrice"] == by_source["azure"]["ListUnitPrice"] * Decimal("0.925")
    assert by_source["prod"]["ContractedUnitPrice"] == by_source["prod"]["ListUnitPrice"]
    own = [row for row in priced if row["x_PriceSet"] == "own"]
    assert own
    assert all(row["ListCost"] == row["ContractedCost"] for row in own)
    prices = {(row["SkuPriceId"], row["ListUnitPrice"]) for row in priced}
    assert len({price for price, _ in prices}) == len(prices)


def test_rows_differ_in_what_tells_them_apart(month):
    """No two rows speak of the same day, source, model, tier, class, tags, price and basis."""
    names = ("ChargePeriodStart", "x_Source", "SkuId", "x_ServiceTier", "x_TokenType", "Tags", "x_CostBasis")
    more = ("SkuPriceId", "ContractedUnitPrice")
    assert len({tuple(row[name] for name in names + more) for row in month[0]}) == len(month[0])


@pytest.mark.slow
def test_rows_do_not_change_with_the_order_of_loading(tmp_path, month):
    """Same completions in another order: same rows, in the same order."""
    other = rows()
    random.Random(1).shuffle(other)
    with warehouse(tmp_path / "w.duckdb", other, COST) as connection:
        assert told(connection) == month[0]


# -- what has no price ---------------------------------------------------------------------------------------------


def test_what_has_no_price_says_so(month):
    """No price, no id of one, no lower bound; the zero that FOCUS wants, and the words that it is none."""
    unpriced = [row for row in month[0] if row["x_CostBasis"].startswith("unpriced: ")]
    assert {row["x_CostBasis"] for row in unpriced} >= {
        "unpriced: no price",
        "unpriced: no usage",
        "unpriced: no model",
        "unpriced: usage inconsistent",
    }
    assert unpriced == [row for row in month[0] if row["SkuPriceId"] is None]
    for row in unpriced:
        nothing = ("ListUnitPrice", "ContractedUnitPrice", "SkuPriceDetails", "x_CostMin")
        assert {row[name] for name in nothing} == {None}
        assert {row[name] for name in MONEY if name != "x_CostMin"} == {0}
        assert "cost not known and not 0" in row["ChargeDescription"]


@pytest.mark.slow
def test_requests_that_tell_no_tokens_are_counted_as_requests(tmp_path):
    """Where not even the tokens are known, the row counts requests, and PricingQuantity is not null."""
    made = [
        completion(1, day=FIRST, prompt_tokens=None, completion_tokens=None),
        completion(2, day=FIRST, prompt_tokens=70, completion_tokens=None),
        completion(3, day=FIRST, prompt_tokens=None, completion_tokens=80),
        completion(4, day=FIRST, model="nobody-knows", prompt_tokens=0, completion_tokens=0),
    ]
    with warehouse(tmp_path / "w.duckdb", made, COST) as connection:
        found = [
            (row["SkuId"], row["ConsumedUnit"], row["ConsumedQuantity"], row["PricingUnit"], row["PricingQuantity"])
            for row in told(connection)
        ]
    assert sorted(found) == [
        ("gpt-4.1-2025-04-14", "Requests", 2, "Requests", 2),
        ("gpt-4.1-2025-04-14", "Tokens", 70, "1000000 Tokens", Decimal("0.00007")),
        ("gpt-4.1-2025-04-14", "Tokens", 80, "1000000 Tokens", Decimal("0.00008")),
        ("nobody-knows", "Tokens", 0, "1000000 Tokens", 0),
    ]


def test_requests_of_the_class_input_add_up(month):
    """Every completion is counted once there, whatever its tokens; by any dimension."""
    file, completions = month
    inputs = [row for row in file if row["x_TokenType"] == "input"]
    for name, (ours, truth) in DIMENSIONS.items():
        counted = grouped(inputs, [ours], lambda row: row["x_Requests"])
        assert counted == grouped(completions, [truth], lambda _: 1), name


@pytest.mark.slow
def test_strict_and_a_word_on_stderr(published):
    """Whoever only reads the costs is told on stderr how much has none; --strict makes that a failed check."""
    _, options = published
    done = pipeline("focus", *options, "--month", MONTH, "--strict")
    assert done.returncode == 4
    assert re.search(r"[\d,]+ requests with [\d,]+ tokens have no price", done.stderr)
    assert done.stdout.startswith("BilledCost,")


# -- whose it is, and what may leave -------------------------------------------------------------------------------


def test_whose_a_source_is(month):
    """OpenAI, Microsoft, the host of anybody else; a source that the settings do not hold is told as Unknown."""
    who = {
        row["x_Source"]: (row["ProviderName"], row["ServiceName"], row["BillingAccountId"], row["SubAccountId"])
        for row in month[0]
    }
    assert who == {
        "prod": ("OpenAI", "OpenAI API", "org-1", "proj_1"),
        "azure": ("Microsoft", "Azure OpenAI", "azure", "azure"),
        "gateway": ("Unknown", "Unknown", "gateway", "gateway"),
    }
    assert focus.account("a", "http://llm.example:8080/v1", None, None).provider == "llm.example"
    assert focus.account("a", "https://notopenai.com/v1", None, None).provider == "notopenai.com"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_only_allowed_metadata_leave(published, form):
    """Neither keys nor values of other metadata are anywhere in the file."""
    out = published[0] / f"focus.{form}"
    assert b"never-to-be-told" not in out.read_bytes()
    assert b"secret" not in out.read_bytes()
    tags = duckdb.sql(f"SELECT DISTINCT Tags FROM '{out}'").fetchall()
    keys = {key for (text,) in tags for key in json.loads(text)}
    assert keys == {"team", "app"}
    assert {json.loads(text).get("team") for (text,) in tags} > {None, "search", *HOSTILE, *FOREIGN}


def test_without_settings_no_metadata_leave(published):
    """The allow-list is the settings'; without it Tags are empty."""
    _, (_, _, *data) = published
    out = published[0] / "bare.parquet"
    done = pipeline("focus", *data, "--month", MONTH, "--format", "parquet", "--out", out)
    assert set(pq.read_table(out)["Tags"].to_pylist()) == {"{}"}
    assert "prod is not in the settings" in done.stderr


# -- the files -----------------------------------------------------------------------------------------------------

MOMENT = re.compile(r"2026-1[01]-\d\dT00:00:00Z")
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def test_formats_of_csv(lines):
    """Decimals without an exponent, moments in UTC, and the columns in their order, with FOCUS' own first."""
    names = [column.name for column in focus.COLUMNS]
    assert list(lines[0]) == names
    assert names == sorted(names)
    for row in lines:
        assert None not in row.values()
        for column in focus.COLUMNS:
            text = row[column.name]
            if text and str(column.kind).startswith("decimal128") and column.name != "x_ConsumedTokens":
                assert NUMBER.fullmatch(text)
                assert "." in text
            if column.name.endswith(("PeriodStart", "PeriodEnd")):
                assert MOMENT.fullmatch(text)
    assert {(row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in lines} == {
        ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    }
    assert all(row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] for row in lines)
    assert {row["ChargePeriodStart"][8:10] for row in lines} == {f"{day:02}" for day in range(1, 32)}


def test_no_cell_is_a_formula(lines):
    """Names of models and tiers are other people's texts: in CSV none begins so that a spreadsheet would run it."""
    cells = {cell for row in lines for cell in row.values()}
    assert [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n")) and not NUMBER.fullmatch(cell)] == []
    assert {f"'{HOSTILE[0]}", f"'{HOSTILE[3]}"} <= cells


def test_parquet_holds_what_csv_holds(published, lines):
    """The same rows, exactly, as declared; texts are as they are."""
    table = pq.read_table(published[0] / "focus.parquet")
    assert table.schema.equals(focus.schema())
    assert table.schema.metadata[b"FocusVersion"] == b"1.2"
    for name in MONEY:
        assert [Decimal(row[name]) if row[name] else None for row in lines] == table[name].to_pylist()
    assert {*HOSTILE, *FOREIGN} < set(table["SkuId"].to_pylist())
    assert set(table["BilledCost"].to_pylist()) == {0}


@pytest.mark.slow
def test_a_file_is_private_and_whole(published):
    """0600, in place of what was there, and nothing is left beside it; the same as on stdout."""
    path, options = published
    out = path / "out" / "focus.csv"
    out.parent.mkdir()
    out.write_text("before", encoding="utf-8")
    assert_one_message(pipeline("focus", *options, "--month", MONTH, "--out", out), 0)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(out.parent.iterdir()) == [out]
    call = [*PROGRAM, "focus", *map(str, options), "--month", MONTH]
    done = subprocess.run(call, capture_output=True, env=environment(), timeout=PATIENCE, check=True)
    assert out.read_bytes() == done.stdout


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_month_without_data(published, form):
    """All columns, no row, no error."""
    path, options = published
    out = path / f"none.{form}"
    done = pipeline("focus", *options, "--month", "2025-02", "--format", form, "--out", out)
    assert_one_message(done, 0)
    answer = duckdb.sql(f"SELECT * FROM '{out}'")
    assert answer.columns == [column.name for column in focus.COLUMNS]
    assert answer.fetchall() == []


# -- the bill ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_bill_stands_in_rows_of_its_own(tmp_path, month):
    """BilledCost adds up to the month's bill, the other costs to what they were; its rows say that they are it."""
    bill = [
        ("2026-10-03", 0, "proj_9", "o3, input", "1.25", "usd"),
        ("2026-10-03", 1, "proj_9", "o3, input", "0.000000000000001", None),
        ("2026-10-31", 0, None, None, "-0.5", "usd"),
        ("2026-10-04", None, None, None, None, None),
        ("2026-11-01", 0, "proj_9", "o3, input", "100", "usd"),
    ]
    with warehouse(tmp_path / "w.duckdb", rows(), COST) as connection:
        for day, index, project, line_item, amount, currency in bill:
            connection.execute(
                """INSERT INTO organization_costs BY NAME SELECT 'prod' AS source, ?::DATE AS created_date,
                ? AS "index", ? AS project_id, ? AS line_item, ?::DECIMAL(38, 15) AS amount, ? AS currency,
                1 AS segment, created_date::TIMESTAMP AS created, created AS fetched_at""",
                [day, index, project, line_item, amount, currency],
            )
        file = told(connection)
    billed = [row for row in file if row["x_CostBasis"] == "bill"]
    assert [row for row in file if row["x_CostBasis"] != "bill"] == month[0]
    assert [(row["SubAccountId"], row["SkuId"], row["BilledCost"]) for row in billed] == [
        ("proj_9", "o3, input", Decimal("1.250000000000001")),
        ("proj_1", "not told by line", Decimal("-0.5")),
    ]
    for row in billed:
        assert {row[name] for name in ("EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity")} == {0}
        assert (row["BillingAccountId"], row["ChargeCategory"], row["ChargeClass"]) == ("org-1", "Usage", None)


@pytest.mark.slow
def test_input_with_the_cached_share_of_others_has_a_price_of_its_own(tmp_path):
    """Usage tells how much of a day was cached: such input has one rate for both parts, and an id that says so."""
    with warehouse(tmp_path / "w.duckdb", [completion(1, day=FIRST, model="o3")], COST) as connection:
        connection.execute(
            """INSERT INTO organization_usage BY NAME SELECT 'prod' AS source, DATE '2026-10-01' AS created_date,
            0 AS "index", 'o3' AS model, 3000 AS input_tokens, 1000 AS input_cached_tokens, 1 AS segment,
            created_date::TIMESTAMP AS created, created AS fetched_at"""
        )
        row = told(connection)[0]
        ((cost,),) = connection.execute("SELECT input_cost FROM cost_by_completion").fetchall()
    assert row["x_CostBasis"].startswith("cached share from Usage")
    assert row["SkuPriceId"].startswith("o3/input+cached_input/standard/")
    assert row["PricingQuantity"] * row["ContractedUnitPrice"] == row["ContractedCost"] == row["x_CostMin"] == cost


@pytest.mark.slow
def test_a_month_as_it_was_reported_then(published):
    """2 for a price set that there is not, with those that there are."""
    done = pipeline("focus", *published[1], "--month", MONTH, "--prices", "1999-01-01")
    assert_one_message(done, 2, "there is no price set 1999-01-01", "2026-11-10")


# -- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "month",
    ["2026-13", *(pytest.param(month, marks=pytest.mark.slow) for month in ("2026-1", "0000-01", "9999-12", ""))],
)
@pytest.mark.slow
def test_what_is_no_month(published, month):
    """2, and how to write one."""
    assert_one_message(pipeline("focus", *published[1], "--month", month), 2)


def test_parquet_wants_a_file(published):
    """2: it is not for a terminal, nor for a pipe."""
    done = pipeline("focus", *published[1], "--month", MONTH, "--format", "parquet")
    assert_one_message(done, 2, "--out")
    assert done.stdout == ""


def test_a_folder_that_is_not_there(published):
    """2, and no folder is made."""
    path, options = published
    done = pipeline("focus", *options, "--month", MONTH, "--out", path / "no" / "focus.csv")
    assert_one_message(done, 2, str(path / "no"))
    assert not (path / "no").exists()


def test_nothing_was_published(tmp_path):
    """78, and what publishes."""
    assert_one_message(pipeline("focus", "--data", tmp_path, "--month", MONTH), 78, "pipeline run")


@pytest.mark.slow
def test_a_snapshot_of_an_older_program(tmp_path):
    """78 where the snapshot lacks its tables, and what makes a new one; the file that was there stays."""
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()
    out = tmp_path / "focus.csv"
    out.write_text("before", encoding="utf-8")
    done = pipeline("focus", "--data", tmp_path, "--month", MONTH, "--out", out)
    assert_one_message(done, 78, "the snapshot cannot answer", "pipeline run")
    assert out.read_text(encoding="utf-8") == "before"
