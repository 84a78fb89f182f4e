"""Adopting: what the API said itself always wins, only completions are taken, and what cannot be read is told."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.adopt as adopting
from pipeline.adopt import adopt
from pipeline.errors import UsageError
from pipeline.repair import repair
from pipeline.verify import verify

from .world import DAY, HOUR, NOW, World, completion, prove, rows_of_duckdb, versions

HELD = NOW - 10 * DAY


@pytest.fixture
def world(tmp_path):
    """Hold completions of twenty days in many segments."""
    with World(tmp_path, limit=5) as one:
        for age in range(20 * DAY, 0, -12 * HOUR):
            one.add(NOW - age + 1)
        one.store.add(completion("held", HELD))
        one.run()
        yield one


def lines(path, *bodies):
    path.write_text("\n".join(json.dumps(body) for body in bodies))
    return path


@pytest.mark.parametrize(
    "created",
    [
        None,
        HELD + 5 * DAY,
        *(
            pytest.param(created, marks=pytest.mark.slow)
            for created in (float(HELD), "2025-09-06T05:20:00", True, HELD - 90 * DAY, HELD * 1000, 10**30)
        ),
    ],
)
def test_what_the_api_said_wins_whatever_created_was_saved(world, tmp_path, created):
    """An id that is held is left as it is, also where its created was saved as something else; so it stays."""
    saved = lines(tmp_path / "saved.jsonl", {**completion("held", HELD), "created": created, "model": "other"})
    done = adopt(world.config(), saved, source="prod")
    assert (done.new, done.held) == (0, 1)
    world.run()
    repair(world.config(), "all")
    prove(world.data)
    (row,) = [row for row in rows_of_duckdb(world.folder.snapshot)["completions"] if row["id"] == "held"]
    assert (row["origin"], row["model"], row["created_unix"]) == ("api", "m", HELD)
    assert verify(world.config(), against_api=True).exit_code == 0


@pytest.mark.parametrize("group", [1, 2, 100])
@pytest.mark.slow
def test_of_what_was_saved_twice_the_first_counts(world, tmp_path, monkeypatch, group):
    """However much is compared and written at a time, each id is adopted once, as it was met first."""
    monkeypatch.setattr(adopting, "GROUP_ROWS", group)
    bodies = [{**completion(f"s{number % 3}", NOW - DAY), "model": f"m{number}"} for number in range(9)]
    bodies[3]["created"] = None
    done = adopt(world.config(segment_size=1), lines(tmp_path / "saved.jsonl", *bodies), source="prod")
    assert (done.new, done.held) == (3, 6)
    held = versions(world.archive())
    assert [[json.loads(body)["model"] for body in held[f"s{number}"]] for number in range(3)] == [
        ["m0"],
        ["m1"],
        ["m2"],
    ]


def batch(body):
    """Make a line of the output of a batch."""
    return {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}


AZURE = {**completion("azure", HELD), "object": None}
BARE = {"id": "bare", "created": HELD, "choices": []}


@pytest.mark.parametrize(
    ("saved", "id_"),
    [
        (batch(completion("inner", HELD)), "inner"),
        (AZURE, "azure"),
        ({"object": "list", "data": [AZURE], "total": 1}, "azure"),
        (BARE, "bare"),
        ({"id": "told", "object": "chat.completion", "created": HELD, "usage": None}, "told"),
    ],
)
@pytest.mark.slow
def test_a_completion_is_one_in_every_shape(world, tmp_path, saved, id_):
    """Those inside a batch's output, Azure's without object, and those without usage are adopted."""
    done = adopt(world.config(), lines(tmp_path / "saved.jsonl", saved), source="prod")
    assert (done.new, done.skipped) == (1, ())
    assert id_ in versions(world.archive())


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        ({"id": "x", "object": "chat.completion.deleted", "deleted": True}, "chat.completion.deleted: no completion"),
        ({"id": "x-0", "object": "chat.completion.message", "content": "y"}, "chat.completion.message: no completion"),
        ({"id": "x", "object": "chat.completion.chunk", "choices": []}, "chat.completion.chunk: no completion"),
        ({"id": "resp_1", "object": "response", "created_at": 1}, "response: no completion"),
        ({"object": "list", "data": [{"id": "m", "object": "model"}]}, "model: no completion"),
        ({"id": "x", "object": "A secret, perhaps"}, "another object: no completion"),
        ({"id": "x", "object": 5, "choices": []}, "another object: no completion"),
        ({"id": "x-0", "role": "user", "content": "y"}, "JSON without choices: no completion"),
        ({"data": [{"id": "x-0", "role": "user"}]}, "JSON without choices: no completion"),
        (batch({"object": "list", "data": [{"object": "embedding"}]}), "JSON without an id: no completion"),
        ({**batch(None), "response": None, "error": {"code": "x"}}, "JSON without choices: no completion"),
        ({"custom_id": "a", "method": "POST", "body": {"model": "m"}}, "JSON without an id: no completion"),
        ({"id": "", "choices": []}, "JSON without an id: no completion"),
        ([5], "no JSON of a completion"),
    ],
)
@pytest.mark.slow
def test_what_is_no_completion_is_skipped_and_named(world, tmp_path, saved, reason):
    """Other objects of the API, and what has neither object nor choices, are not adopted."""
    path = lines(tmp_path / "saved.jsonl", saved, completion("other", HELD))
    done = adopt(world.config(), path, source="prod")
    assert (done.new, done.skipped) == (1, ((f"{path}, line 1", reason),))


def cut(path, content):
    path.write_bytes(content[:-12])


BAD = {
    "bad.jsonl.gz": lambda path: path.write_bytes(b"no gzip"),
    "cut.jsonl.gz": lambda path: cut(path, gzip.compress(b'{"id":"a"}\n' * 1000)),
    "spoiled.jsonl.gz": lambda path: path.write_bytes(gzip.compress(b"x" * 9)[:12] + bytes(30)),
    "spoiled.json.gz": lambda path: path.write_bytes(b"no gzip"),
    "bad.parquet": lambda path: path.write_bytes(b"PAR1xx"),
    "a folder.parquet.d": lambda path: path.mkdir(),
}
BAD_TABLES = {
    "bad.duckdb": lambda path: path.write_bytes(b"no" * 3000),
    "short.duckdb": lambda path: path.write_bytes(b"no"),
    "empty.duckdb": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_TABLES])
@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_told(world, tmp_path, name):
    """What is not what its name says, is cut short, or is a folder: 2 with the file, not a promise to rebuild it."""
    path = tmp_path / name
    (BAD | BAD_TABLES)[name](path)
    options = {"table": "t"} if name in BAD_TABLES else {}
    with pytest.raises(UsageError) as caught:
        adopt(world.config(), path, source="prod", **options)
    assert str(path) in caught.value.message
    assert "rebuilt" not in str(caught.value)


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_a_spoiled_parquet_file_is_told(world, tmp_path):
    """Damage behind a footer that can be read ends with 2 as well."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": [json.dumps(completion(f"p{n}", HELD)) for n in range(500)]}), path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=str(path)):
        adopt(world.config(), path, source="prod")
