"""A segment becomes one batch: declared tables, one version per completion, the program's own log."""

import json
from datetime import UTC, date, datetime

import pytest

from pipeline import schema
from pipeline.handoff import Bookmark
from pipeline.transform import flatten

from .segments import row, segment

COMPLETION = {"id": "c", "created": 1738960610, "choices": []}


def body(**changes):
    """Make a small completion."""
    return json.dumps({**COMPLETION, **changes}).encode()


def check(batch):
    """See that each table is exactly as declared and sound."""
    assert set(batch.tables) == set(schema.TABLES)
    for name, table in batch.tables.items():
        assert table.schema.equals(schema.TABLES[name].columns, check_metadata=True), name
        table.validate(full=True)
        for field in table.schema:
            assert field.nullable or table[field.name].null_count == 0, field.name


def test_an_empty_segment_gives_empty_tables():
    """Tables have the declared schema also when nothing stands in them."""
    batch = flatten(segment())
    check(batch)
    assert batch.bookmark == Bookmark("prod", 7)
    assert {table.num_rows for table in batch.tables.values()} == {0}


def test_the_later_version_wins_with_its_children():
    """Of two versions in one segment the later one stands, alone; an earlier segment's version is named."""
    two = [{"index": n, "message": {"tool_calls": [{"id": "old"}]}} for n in range(2)]
    one = [{"index": 0, "message": {"tool_calls": [{"id": "new"}]}}]
    batch = flatten(
        segment(
            row(body(model="old", choices=two), id_="a", created=1, replaces=(5,)),
            row(body(model="other"), id_="b", created=2),
            row(body(model="new", choices=one), id_="a", created=3, replaces=(1,)),
            row(body(), id_="c", created=None, replaces=(None,)),
        )
    )
    check(batch)
    completions = batch.tables["completions"]
    assert completions.select(["id", "model"]).to_pylist()[:2] == [
        {"id": "b", "model": "other"},
        {"id": "a", "model": "new"},
    ]
    assert batch.tables["choices"].num_rows == 1
    assert batch.tables["tool_calls"]["id"].to_pylist() == ["new"]
    assert batch.replaced == {"a": 5, "c": None}


@pytest.mark.parametrize("second", [-62_135_596_801, 253_402_300_800, 2**63 - 1, -(2**63), None])
def test_a_second_outside_the_calendar_is_a_reject(second):
    """Without a usable second created is NULL, created_date the first of 1970, and usage is there all the same."""
    usage = {"prompt_tokens": 1}
    batch = flatten(segment(row(body(created=second, usage=usage), id_="c", created=second)))
    check(batch)
    (found,) = batch.tables["completions"].to_pylist()
    assert (found["created"], found["created_unix"], found["created_date"]) == (None, second, date(1970, 1, 1))
    assert found["prompt_tokens"] == 1
    assert [reject["path"] for reject in batch.tables["rejects"].to_pylist()] == ["created"]
    assert batch.rejected == 1


@pytest.mark.parametrize("second", [-62_135_596_800, 253_402_300_799, 0])
def test_the_calendars_ends_are_usable(second):
    """The first second of year 1 and the last one of 9999 are timestamps."""
    batch = flatten(segment(row(body(created=second), id_="c", created=second)))
    assert batch.tables["completions"]["created"].null_count == batch.rejected == 0


def test_children_take_place_and_time_of_their_completion():
    """Choices, tool calls and rejects carry id, created, date, source and segment of the row they come from."""
    choices = [
        {"index": 5, "message": {"tool_calls": [{"type": "custom", "custom": {"name": "n", "input": "i"}}]}},
        {"message": {"tool_calls": [{}, {"function": {"name": "f", "arguments": "{"}}]}, "logprobs": True, "odd": 1},
    ]
    batch = flatten(segment(row(body(), id_="a", created=1), row(body(choices=choices), id_="b", created=86400)))
    check(batch)
    parent = {
        "completion_id": "b",
        "created": datetime(1970, 1, 2, tzinfo=UTC),
        "created_date": date(1970, 1, 2),
        "source": "prod",
        "segment": 7,
    }
    for name in ("choices", "tool_calls"):
        assert all(parent.items() <= found.items() for found in batch.tables[name].to_pylist())
    calls = batch.tables["tool_calls"].select(["choice_index", "index", "name", "arguments", "input"]).to_pylist()
    assert [tuple(call.values()) for call in calls] == [
        (5, 0, "n", None, "i"),
        (1, 0, None, None, None),
        (1, 1, "f", "{", None),
    ]
    assert batch.tables["choices"]["logprobs"].to_pylist() == [None, "true"]
    assert batch.tables["choices"]["extra"].to_pylist() == [None, '{"odd":1}']


def test_runs_and_coverage_come_from_the_archive():
    """What the program did and read is a row each; a kind that this version does not know is passed over."""
    run = {
        **dict.fromkeys(["data_through", "why_not", "largest_lateness"]),
        **dict.fromkeys(["new", "changed", "skipped", "pages", "retries", "bytes"], 3),
        "run_id": "r",
        "started_at": 86_400_000_001,
        "ended_at": 86_400_000_002,
        "complete": True,
        "findings": [{"what": "late \u00e9"}],
        "version": "0.1.0",
    }
    span = {"start": None, "end": 9, "asked_at": 86_410, "possibly_incomplete": [4, 5]}
    batch = flatten(
        segment(
            row(json.dumps(run).encode(), kind="run", id_="r"),
            row(json.dumps(span).encode(), kind="coverage", id_=""),
            row(json.dumps({**span, "start": 9, "possibly_incomplete": []}).encode(), kind="coverage", id_=""),
            row(b"\x00", kind="unheard-of", id_="c"),
        )
    )
    check(batch)
    (found,) = batch.tables["runs"].to_pylist()
    assert json.loads(found["findings"]) == run["findings"]
    assert found["started_at"] == datetime(1970, 1, 2, 0, 0, 0, 1, tzinfo=UTC)
    assert (found["created_date"], found["bytes"], found["data_through"]) == (date(1970, 1, 2), 3, None)
    first, second = batch.tables["coverage"].to_pylist()
    assert (first["start_unix"], first["end_unix"], first["possibly_incomplete"]) == (None, 9, [4, 5])
    assert (second["start_unix"], second["possibly_incomplete"]) == (9, [])
    assert first["asked_at"] == datetime(1970, 1, 2, 0, 0, 10, tzinfo=UTC)
    assert batch.tables["completions"].num_rows == 0
