"""Recipes answer what they say, on every snapshot, and take values that are never run."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pytest

from pipeline.errors import UsageError
from pipeline.load.reading import query
from pipeline.recipes import parse, recipes
from pipeline.sandbox import generate
from tests.cli.program import assert_one_message, pipeline
from tests.cost.reported import choice, snapshot
from tests.cost.warehouse import completion
from tests.e2e.place import Place

RECIPES = recipes()
EXAMPLES = {name: {one.name: one.example for one in recipe.values if one.example} for name, recipe in RECIPES.items()}
#: Those that ask for what was said, or for what only a completion with tools has.
OF_CONTENT = {"search", "tool_calls"}
HOSTILE = "' OR true; DROP TABLE completions --"
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def ask(data, name, **given):
    """Ask a recipe, and return its rows as dicts."""
    recipe = RECIPES[name]
    with query(data / "warehouse.duckdb", recipe.sql, recipe.filled(EXAMPLES[name] | given)) as answer:
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


@pytest.fixture(
    scope="module", params=["full", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("none", "empty"))]
)
def exported(request, tmp_path_factory):
    """Export a generated month, the same without its content, and one in which there was nothing."""
    with Place(tmp_path_factory.mktemp(request.param)) as place:
        if request.param != "empty":
            generate.month(place.store, completions=60, until=place.clock())
        content = "none" if request.param == "none" else "full"
        assert place.run(content=content, messages=True).exit_code == 0
    return request.param, place.data


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Make a snapshot of one completion."""
    return snapshot(tmp_path_factory.mktemp("small") / "data", [completion(1, metadata=[("team", "a")])])


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_on_every_snapshot(exported, name):
    """It answers rows where there are some, and none where there are none; nothing that was said without content."""
    kind, data = exported
    rows = ask(data, name)
    if kind == "full" or (kind == "none" and name not in OF_CONTENT) or name == "freshness":
        assert rows
    elif kind == "empty" or name == "search":
        assert rows == []


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_it_is(name):
    """A title, one sentence and what each value means; nothing that would end a raw string of Python."""
    recipe = RECIPES[name]
    assert recipe.title
    assert recipe.explanation.endswith(".")
    assert all(value.meaning for value in recipe.values)
    assert recipe.sql.isascii()
    assert "\\" not in recipe.sql
    assert '"""' not in recipe.sql
    assert {f"${value.name}" for value in recipe.values} == set(_parameters(recipe.sql))


def _parameters(sql):
    body = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    return [word.strip("(),:") for word in body.replace("::", " ").replace("(", " ").split() if word.startswith("$")]


def test_a_recipe_whose_value_is_not_explained_is_refused():
    """A line that is no value is a mistake in the program."""
    with pytest.raises(ValueError, match="no value"):
        parse("wrong", "-- Title\n-- A sentence.\n-- $rows: how many\nSELECT 1")


# -- what they answer ----------------------------------------------------------------------------------------------


def test_tokens_by_day_adds_up(tmp_path):
    """Tokens and cost of each day and model, of the latest days only; what has no price has no cost, and not zero."""
    early = NOON - dt.timedelta(days=10)
    rows = [completion(1), completion(2), completion(3, at=early), completion(4, model="unheard-of")]
    data = snapshot(tmp_path / "data", rows)
    told = [(one["day"].day, one["requests"], one["total_tokens"]) for one in ask(data, "tokens_by_day")]
    assert told == [(10, 1, 1100), (20, 2, 2200), (20, 1, 1100)]
    told = ask(data, "tokens_by_day", days="10")
    assert [(one["model"], float(one["cost"]) if one["cost"] is not None else None) for one in told] == [
        ("gpt-4.1-2025-04-14", 0.0056),
        ("unheard-of", None),
    ]


@pytest.mark.slow
def test_by_metadata_takes_any_key(tmp_path):
    """Without a key the one that most completions have; with one the values of it, and (none) for the rest."""
    teams = [completion(n, metadata=[("team", "a" if n < 2 else "b"), ("it's", HOSTILE)]) for n in range(3)]
    data = snapshot(tmp_path / "data", [*teams, completion(4, metadata=[("team", "c")]), completion(5)])
    told = {one["value"]: one["requests"] for one in ask(data, "by_metadata")}
    assert told == {"a": 2, "b": 1, "c": 1, "(none)": 1}
    assert [one["value"] for one in ask(data, "by_metadata", rows="1")] == ["a"]
    told = {one["value"]: one["requests"] for one in ask(data, "by_metadata", key="it's")}
    assert told == {HOSTILE: 3, "(none)": 2}
    assert ask(data, "by_metadata", key=HOSTILE) == []


def test_cached_share_counts_what_is_told(tmp_path):
    """A completion that does not tell its cached tokens makes the share neither larger nor smaller."""
    data = snapshot(
        tmp_path / "data",
        [completion(1, prompt_cached_tokens=250), completion(2), completion(3, prompt_cached_tokens=0)],
    )
    (row,) = ask(data, "cached_share")
    assert (row["requests"], row["requests_that_tell"], row["cached_tokens"]) == (3, 2, 250)
    assert row["cached_share"] == 0.125


def test_lateness_is_counted_in_steps(tmp_path):
    """From creation to when it was first seen; what somebody had saved before tells nothing."""
    hours = (0, 0.5, 1, 5, 24, 1000)
    rows = [completion(n, first_seen=NOON + dt.timedelta(hours=one)) for n, one in enumerate(hours)]
    data = snapshot(tmp_path / "data", [*rows, completion(9, origin="adopted")])
    told = {one["lateness"]: one["completions"] for one in ask(data, "lateness")}
    assert told == {"up to 1 hour": 2, "1 to 6 hours": 2, "1 to 2 days": 1, "over 30 days": 1}


def test_prompts_by_length_double(tmp_path):
    """Steps from one power of two to the next; no prompt is its own step."""
    data = snapshot(tmp_path / "data", [completion(n, prompt_tokens=n) for n in (0, 1, 2, 3, 4, 1023, 1024)])
    told = {
        (one["prompt_tokens_from"], one["prompt_tokens_to"]): one["requests"] for one in ask(data, "prompts_by_length")
    }
    assert told == {(0, 0): 1, (1, 1): 1, (2, 3): 2, (4, 7): 1, (512, 1023): 1, (1024, 2047): 1}


def test_tool_calls_tell_valid_from_invalid(tmp_path):
    """Arguments that are no JSON, that are none at all, and calls that were answered."""
    row = completion(1)
    part = {name: row[name] for name in ("source", "created", "created_date", "segment")} | {"completion_id": "c1"}
    calls = [('{"a": 1}', "one"), ('{"a": 1', "two"), (None, "three"), ("{}", "four")]
    data = snapshot(
        tmp_path / "data",
        [row],
        tool_calls=[
            {**part, "choice_index": 0, "index": n, "id": id_, "name": "find", "arguments": text}
            for n, (text, id_) in enumerate(calls)
        ],
        messages=[{**part, "index": 0, "tool_call_id": "one"}, {**part, "index": 1, "tool_call_id": "one"}],
    )
    (told,) = ask(data, "tool_calls")
    assert (told["calls"], told["valid_json"], told["invalid_json"], told["without_arguments"]) == (4, 2, 1, 1)
    assert told["answered"] == 1


def test_finish_reasons_share_a_model(tmp_path):
    """The shares of a model's reasons are its own, and no reason is one of them."""
    row, other = completion(1), completion(2, model="other")
    choices = [choice(row, "stop"), choice(row, "length", 1), choice(row, None, 2), choice(other, "stop")]
    data = snapshot(tmp_path / "data", [row, other], choices=choices)
    told = {(one["model"], one["finish_reason"]): one["share_of_model"] for one in ask(data, "finish_reasons")}
    assert told == {
        ("gpt-4.1-2025-04-14", "stop"): 0.3333,
        ("gpt-4.1-2025-04-14", "length"): 0.3333,
        ("gpt-4.1-2025-04-14", "(none)"): 0.3333,
        ("other", "stop"): 1.0,
    }


def test_search_finds_words_as_they_are(tmp_path):
    """In upper or lower case, with what stands around them; % and _ and quotes are letters like others."""
    row = completion(1)
    choices = [choice(row, "stop", 0, "x" * 200 + " 100 % REFUND, it's_done"), choice(row, "stop", 1, "Refunds")]
    data = snapshot(tmp_path / "data", [row], choices=choices)
    assert len(ask(data, "search", words="refund")) == 2
    assert len(ask(data, "search", words="refund", rows="1")) == 1
    (found,) = ask(data, "search", words="it's_d")
    assert "REFUND, it's_done" in found["around"]
    assert len(found["around"]) < 200
    assert ask(data, "search", words="%e%") == ask(data, "search", words=HOSTILE) == []


def test_the_most_expensive_come_first(tmp_path):
    """As many as were asked for."""
    data = snapshot(tmp_path / "data", [completion(n, completion_tokens=100 * n) for n in (1, 3, 2)])
    assert [one["completion_id"] for one in ask(data, "most_expensive", rows="2")] == ["c3", "c2"]


def test_hours_are_those_of_a_time_zone(tmp_path):
    """Noon on a Friday in UTC is eight in the evening in Shanghai."""
    data = snapshot(tmp_path / "data", [completion(1)])
    (told,) = ask(data, "requests_by_hour")
    assert (told["name"], told["hour"]) == ("Friday", 12)
    assert ask(data, "requests_by_hour", tz="Asia/Shanghai")[0]["hour"] == 20


def test_freshness_tells_each_source(tmp_path):
    """One row per source."""
    data = snapshot(tmp_path / "data", [], runs=[{}, {"source": "other", "complete": False, "why_not": "a gap"}])
    told = [(one["source"], one["complete"], one["why_not"]) for one in ask(data, "freshness")]
    assert told == [("other", False, "a gap"), ("prod", True, None)]


# -- as people ask -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sql_is_told_and_stdout_stays_data(small):
    """The recipe's SQL is on stderr, and run as it stands with the same values it answers the same."""
    done = pipeline("query", "--data", small, "--recipe", "by_metadata", "--set", "key=team", "--set", "rows=5")
    assert_one_message(done, 0)
    assert done.stderr.strip() == RECIPES["by_metadata"].sql
    again = pipeline("query", "--data", small, "--set", "key=team", "--set", "rows=5", "--", done.stderr)
    assert again.stdout == done.stdout
    assert done.stdout.splitlines()[1].startswith("team,a,1,")


def test_recipes_are_listed(tmp_path):
    """A line each, without a data folder."""
    lines = pipeline("query", "--recipes", cwd=tmp_path).stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["recipe", *RECIPES]


WRONG = (
    ("there is no recipe 'nope'", "freshness", "--recipe", "nope"),
    ("needs words", "--set words=refund", "--recipe", "search"),
    ("needs words", "--set words=refund", "--recipe", "search", "--set", "words="),
    ("'many'", "whole number", "--recipe", "most_expensive", "--set", "rows=many"),
    ("has no value 'key'", "it takes days", "--recipe", "tokens_by_day", "--set", "key=team"),
    ("'team'", "write it like key=team", "--recipe", "by_metadata", "--set", "team"),
    ("Ask one thing", "--recipes", "SELECT 1", "--recipe", "freshness"),
    ("Ask one thing", "--recipes"),
    ("Unknown TimeZone", "Nowhere", "--recipe", "requests_by_hour", "--set", "tz=Nowhere"),
    ("parameter", "a", "SELECT $a"),
)


@pytest.mark.parametrize(("said", "hint", "call"), [(said, hint, call) for said, hint, *call in WRONG])
def test_what_is_wrong_is_told_in_a_message(small, said, hint, call):
    """2, with what is wrong and what to do."""
    done = pipeline("query", "--data", small, *call)
    assert_one_message(done, 2, said, hint)
    assert done.stdout == ""


@pytest.mark.slow
def test_no_value_is_sql(small):
    """Text that would be SQL is compared and nothing else, in a recipe and in a query of one's own."""
    for call in (
        ["--recipe", "search", "--set", f"words={HOSTILE}"],
        ["SELECT 1 WHERE $a = '1'", "--set", f"a={HOSTILE}"],
    ):
        done = pipeline("query", "--data", small, *call)
        assert_one_message(done, 0)
        assert len(done.stdout.splitlines()) == 1
        assert ("no rows" in done.stderr) == (call[0] == "--recipe")


def test_recipes_are_read_without_duckdb():
    """They are texts: reading them imports nothing heavy."""
    look = (
        "import sys; from pipeline.recipes import recipes; recipes(); print({'duckdb', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_whole_number_is_one():
    """Digits only; neither a sign nor other alphabets' digits."""
    for text in ("-1", "1.5", "٣", ""):
        with pytest.raises(UsageError, match="whole number"):
            RECIPES["most_expensive"].filled({"rows": text})
