"""Input messages become one row each, whether they were fetched or came with the completion."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.transform import flatten

from .segments import row, segment
from .test_flatten import body, check

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "recordings" / "messages-and-retrieve.jsonl"
FIELDS = ("index", "id", "role", "name", "content", "content_parts", "tool_calls", "tool_call_id", "extra")


def fetched(messages, *, id_="c"):
    """Make the row of what the messages route said; bytes are its JSON text."""
    text = messages if isinstance(messages, bytes) else json.dumps(messages).encode()
    return row(text, kind="messages", id_=id_, created=1738960610)


def told(batch, *names):
    """Return columns of the messages that are not NULL, row by row."""
    rows = batch.tables["messages"].select(names or FIELDS).to_pylist()
    return [{name: value for name, value in found.items() if value is not None} for found in rows]


def test_messages_of_every_kind():
    """Text, parts, calls and answers of tools have their columns; what has none is in extra, and null noise nowhere."""
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "blob:00"}}]
    call = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    noise = dict.fromkeys(["name", "content_parts", "refusal", "audio", "function_call", "annotations", "tool_calls"])
    batch = flatten(
        segment(
            fetched(
                [
                    {"id": "m-0", "role": "user", "content": "look", "content_parts": parts, "name": "ann"},
                    {**noise, "role": "user", "content": parts},
                    {**noise, "role": "assistant", "content": None, "tool_calls": [call], "refusal": "no", "new": 1},
                    {"role": "tool", "content": "h\u00e9", "tool_call_id": "call-1"},
                    {"role": "user", "content": parts[:1], "content_parts": parts},
                ]
            )
        )
    )
    check(batch)
    sent = json.dumps(parts)
    assert told(batch) == [
        {"index": 0, "id": "m-0", "role": "user", "name": "ann", "content": "look", "content_parts": sent},
        {"index": 1, "role": "user", "content_parts": sent},
        {"index": 2, "role": "assistant", "tool_calls": json.dumps([call]), "extra": '{"refusal":"no","new":1}'},
        {"index": 3, "role": "tool", "content": "h\u00e9", "tool_call_id": "call-1"},
        {
            "index": 4,
            "role": "user",
            "content_parts": sent,
            "extra": json.dumps({"content": parts[:1]}).replace('{"content": ', '{"content":'),
        },
    ]
    assert (batch.fetched, batch.rejected) == ({"c"}, 0)


def test_the_last_fetched_counts_also_where_there_is_none():
    """Of several answers for one completion in a segment the last one stands; null says that the source has none."""
    some = [{"role": "user", "content": "old"}] * 2
    batch = flatten(
        segment(
            fetched(some, id_="a"),
            fetched(some, id_="b"),
            fetched([{"role": "user", "content": "new"}], id_="a"),
            fetched(b"null", id_="b"),
        )
    )
    check(batch)
    assert told(batch, "completion_id", "content") == [{"completion_id": "a", "content": "new"}]
    assert batch.fetched == {"a", "b"}


def test_messages_that_came_with_the_completion():
    """Inline messages are rows of messages and nothing in extra; completions without the key say nothing of theirs."""
    one, two = [{"role": "user", "content": "one"}], [{"role": "user", "content": "two", "new": 1}]
    batch = flatten(
        segment(
            row(body(input_messages=two), id_="a", created=1),
            row(body(input_messages=one), id_="a", created=86400, replaces=(1,)),
            row(body(), id_="a", created=86400, replaces=(86400,)),
            row(body(input_messages=two), id_="b", created=2),
            row(body(input_messages=[]), id_="c", created=2),
            row(body(input_messages=None), id_="d", created=2),
            row(body(), id_="e", created=2),
            row(body(input_messages=two), id_="f", created=2),
            fetched(one, id_="f"),
        )
    )
    check(batch)
    assert told(batch, "completion_id", "content", "extra") == [
        {"completion_id": "f", "content": "one"},
        {"completion_id": "a", "content": "one"},
        {"completion_id": "b", "content": "two", "extra": '{"new":1}'},
    ]
    assert batch.fetched == {"a", "b", "c", "f"}
    assert batch.tables["completions"]["extra"].null_count == batch.tables["completions"].num_rows
    assert batch.rejected == 0


def test_what_does_not_fit_is_a_reject_and_the_rest_stands():
    """A value that fits no column is told with its place and kept in extra; messages that are no array are none."""
    odd = b'[{"role":5,"content":"a"},7,{"role":"user","content":"\\ud800","name":"ann"}]'
    batch = flatten(segment(fetched(odd, id_="a"), fetched({"no": "array"}, id_="b")))
    check(batch)
    assert told(batch, "completion_id", "role", "content", "name", "extra") == [
        {"completion_id": "a", "content": "a", "extra": '{"role":5}'},
        {"completion_id": "a", "extra": '{"":7}'},
        {"completion_id": "a", "role": "user", "name": "ann"},
    ]
    rejects = batch.tables["rejects"].select(["completion_id", "path"]).to_pylist()
    assert [tuple(reject.values()) for reject in rejects] == [
        ("a", "messages[0].role"),
        ("a", "messages[1]"),
        ("a", "messages[2].content"),
        ("b", "messages"),
    ]
    assert (batch.rejected, batch.fetched) == (2, {"a", "b"})


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recordings are not beside the project")
def test_recorded_messages():
    """Every message that the real service was recorded to answer is a row, word for word, without a reject."""
    answers = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    pages = [a["body"]["data"] for a in answers if a["status"] == 200 and a["body"].get("object") == "list"]
    batch = flatten(segment(*(fetched(page, id_=f"c{place}") for place, page in enumerate(pages))))
    check(batch)
    messages = [message for page in pages for message in page]
    rows = batch.tables["messages"].to_pylist()
    assert len(rows) == len(messages) > 0
    for found, sent in zip(rows, messages, strict=True):
        assert [found[name] for name in ("id", "role", "content")] == [sent[name] for name in ("id", "role", "content")]
        assert json.loads(found["content_parts"] or "null") == sent["content_parts"]
    assert Counter(found["extra"] for found in rows) == {None: len(rows)}
    assert batch.rejected == 0
