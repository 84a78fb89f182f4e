"""What the real service sends, exported end to end, is read back from Parquet and DuckDB with its values and types."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import pipeline
from pipeline import schema
from pipeline.sandbox.recordings import load
from pipeline.sandbox.shape import Shape

from .world import World, prove, versions

EXAMPLE = Path(__file__).parents[1] / "data" / "list-example.json"
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "recordings" / "list-walks.jsonl"
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
TYPES = {
    "seed": (pa.int64(), "BIGINT"),
    "created": (pa.timestamp("us", tz="UTC"), "TIMESTAMP WITH TIME ZONE"),
    "created_unix": (pa.int64(), "BIGINT"),
    "temperature": (pa.float64(), "DOUBLE"),
    "top_p": (pa.float64(), "DOUBLE"),
    "presence_penalty": (pa.float64(), "DOUBLE"),
    "frequency_penalty": (pa.float64(), "DOUBLE"),
    **dict.fromkeys(USAGE, (pa.int64(), "BIGINT")),
    **dict.fromkeys(("id", "object", "model", "request_id", "service_tier"), (pa.string(), "VARCHAR")),
    "metadata": (pa.map_(pa.string(), pa.string()), "MAP(VARCHAR, VARCHAR)"),
}


def exported(folder, file):
    """Export what a file holds, as a server would list it; return the world and the bodies sent."""
    with World(folder, Shape(), limit=20) as world:
        load(world.store, file)
        assert world.run().exit_code == 0
        prove(world.data)
        return world, {id_: json.loads(body) for id_, body in world.store.bodies().items()}


def in_parquet(data, name):
    """Read a table as pyarrow does, types from the files alone."""
    return ds.dataset(data / "parquet" / name, partitioning="hive").to_table()


def in_duckdb(data, name):
    """Read a table of the snapshot: its types, and its rows as Python values."""
    with closing(pipeline.connect(data)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.table(name)
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
        return dict(zip(table.columns, map(str, table.types), strict=True)), rows


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Export the API's own example."""
    return exported(tmp_path_factory.mktemp("example"), EXAMPLE)


def expected_of(world):
    """Every column of the example's row that is not NULL."""
    (body,) = versions(world.archive())["chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2"]
    return {
        "source": "prod",
        "id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2",
        "created": dt.datetime(2025, 2, 7, 20, 36, 50, tzinfo=dt.UTC),
        "created_unix": 1738960610,
        "created_date": dt.date(2025, 2, 7),
        "object": "chat.completion",
        "model": "gpt-4.1-2025-04-14",
        "request_id": "req_ded8ab984ec4bf840f37566c1011c417",
        "service_tier": "default",
        "system_fingerprint": "fp_50cad350e4",
        "seed": 4944116822809979520,
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "prompt_tokens": 13,
        "completion_tokens": 18,
        "total_tokens": 31,
        "segment": 1,
        "content_hash": hashlib.sha256(body).hexdigest(),
        "origin": "api",
    }


CHOICE = {
    "source": "prod",
    "completion_id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2",
    "created": dt.datetime(2025, 2, 7, 20, 36, 50, tzinfo=dt.UTC),
    "created_date": dt.date(2025, 2, 7),
    "index": 0,
    "finish_reason": "stop",
    "role": "assistant",
    "content": "Mind of circuits hum, \nLearning patterns in silence\u2014 \nFuture's quiet spark.",
    "segment": 1,
}


def test_the_example_is_read_back_by_pyarrow(example):
    """Each field has its exact value, each column its declared type, and what the API did not send is NULL."""
    world, _ = example
    table = in_parquet(world.data, "completions")
    assert {name: table.schema.field(name).type for name in TYPES} == {name: kind for name, (kind, _) in TYPES.items()}
    (row,) = table.to_pylist()
    row["created_date"] = dt.date.fromisoformat(row["created_date"])
    told = {name: value for name, value in row.items() if value not in (None, [])}
    assert told.pop("first_seen") == told.pop("fetched_at")
    assert told == expected_of(world)
    (choice,) = in_parquet(world.data, "choices").to_pylist()
    told = {name: value for name, value in choice.items() if value is not None}
    assert told == {**CHOICE, "created_date": "2025-02-07"}


def test_the_example_is_read_back_by_duckdb(example):
    """Each field has its exact value, each column its declared type, and what the API did not send is NULL."""
    world, _ = example
    types, (row,) = in_duckdb(world.data, "completions")
    assert {name: types[name] for name in TYPES} == {name: kind for name, (_, kind) in TYPES.items()}
    assert row.keys() == {*schema.COMPLETIONS.columns.names}
    assert row.pop("metadata") == {}
    told = {name: value for name, value in row.items() if value is not None}
    assert told.pop("first_seen") == told.pop("fetched_at")
    assert told == expected_of(world)
    assert type(told["seed"]) is int
    _, (choice,) = in_duckdb(world.data, "choices")
    assert {name: value for name, value in choice.items() if value is not None} == CHOICE
    assert (in_duckdb(world.data, "tool_calls")[1], in_duckdb(world.data, "rejects")[1]) == ([], [])


def test_the_example_is_in_the_archive_as_it_was_sent(example):
    """The body kept is the JSON received, nothing added and nothing taken away."""
    world, sent = example
    assert {id_: [json.loads(body) for body in every] for id_, every in versions(world.archive()).items()} == {
        id_: [body] for id_, body in sent.items()
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Export the union of the recorded walks at 20 a page with the strict second cursor."""
    if not RECORDED.exists():
        pytest.skip("the recordings are not beside the project")
    return exported(tmp_path_factory.mktemp("recorded"), RECORDED)


@pytest.mark.parametrize("read", ["parquet", "duckdb"])
def test_recorded_completions_are_read_back(recorded, read):
    """Ids, usage, seeds, metadata and tool calls equal what the real service sent."""
    world, sent = recorded
    if read == "parquet":
        completions, choices, calls = (
            in_parquet(world.data, name).to_pylist(maps_as_pydicts="strict")
            for name in ("completions", "choices", "tool_calls")
        )
    else:
        completions, choices, calls = (
            in_duckdb(world.data, name)[1] for name in ("completions", "choices", "tool_calls")
        )
    assert Counter(row["id"] for row in completions) == Counter(list(sent))
    assert len(sent) == 373
    for name in USAGE:
        assert sum(row[name] for row in completions) == sum(body["usage"][name] for body in sent.values())
    for row in completions:
        body = sent[row["id"]]
        assert (row["seed"], row["created_unix"], row["metadata"]) == (body["seed"], body["created"], body["metadata"])
        assert row["extra"] is None
    answers = {row["completion_id"]: (row["index"], row["content"], row["finish_reason"]) for row in choices}
    assert answers == {id_: _answer(body["choices"][0]) for id_, body in sent.items()}
    assert sorted((row["completion_id"], row["id"], row["name"], row["arguments"]) for row in calls) == sorted(
        (id_, call["id"], call["function"]["name"], call["function"]["arguments"])
        for id_, body in sent.items()
        for call in body["choices"][0]["message"]["tool_calls"] or ()
    )


def _answer(choice):
    return choice["index"], choice["message"]["content"], choice["finish_reason"]


def test_plain_globs_of_both_engines_agree(recorded):
    """What an analyst gets from the files by DuckDB's glob is what the snapshot says."""
    world, _ = recorded
    asked = "SELECT count(*), count(DISTINCT id), sum(total_tokens), sum(seed::HUGEINT) FROM {}"
    with closing(duckdb.connect()) as connection:
        files = connection.execute(asked.format(f"'{world.data}/parquet/completions/**/*.parquet'")).fetchall()
    with closing(pipeline.connect(world.data)) as connection:
        assert connection.execute(asked.format("completions")).fetchall() == files
