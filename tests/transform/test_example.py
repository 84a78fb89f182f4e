"""What the API really sends arrives in the tables, value for value."""

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline import schema
from pipeline.transform import flatten

from .segments import FETCHED, page_rows, segment

EXAMPLE = Path(__file__).parents[1] / "data" / "list-example.json"
_COMPARED = [
    *("id", "object", "model", "request_id", "seed", "top_p", "service_tier"),
    *("tools", "tool_choice", "response_format", "created", "metadata", "usage"),
]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def rows(batch, table):
    """Return a table's rows, maps as pairs."""
    return batch.tables[table].to_pylist()


def test_the_apis_own_example_arrives_whole():
    """Each field of the reference's example page stands in its column, with its exact value."""
    received = page_rows(EXAMPLE.read_bytes())
    batch = flatten(segment(*received))
    provenance = {
        "source": "prod",
        "created": datetime(2025, 2, 7, 20, 36, 50, tzinfo=UTC),
        "created_date": date(2025, 2, 7),
        "segment": 7,
    }
    expected = {
        **provenance,
        "id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2",
        "created_unix": 1738960610,
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
        "metadata": [],
        "first_seen": FETCHED,
        "fetched_at": FETCHED,
        "content_hash": hashlib.sha256(received[0]["body"]).hexdigest(),
        "origin": "api",
    }
    assert rows(batch, "completions") == [{**dict.fromkeys(schema.COMPLETIONS.columns.names), **expected}]
    choice = {
        **provenance,
        "completion_id": "chatcmpl-AyPNinnUqUDYo9SAdA52NobMflmj2",
        "index": 0,
        "finish_reason": "stop",
        "role": "assistant",
        "content": "Mind of circuits hum, \nLearning patterns in silence\u2014 \nFuture's quiet spark.",
    }
    assert rows(batch, "choices") == [{**dict.fromkeys(schema.CHOICES.columns.names), **choice}]
    assert (rows(batch, "tool_calls"), rows(batch, "rejects"), batch.rejected) == ([], [], 0)


def test_the_example_here_is_the_shared_one():
    """The copy beside the tests is the API's example."""
    shared = SHARED / "list-example.json"
    if not shared.exists():
        pytest.skip("the shared data are not beside the project")
    assert json.loads(EXAMPLE.read_bytes()) == json.loads(shared.read_bytes())


def recorded_pages():
    """Return the recorded list pages, as text."""
    file = SHARED / "recordings" / "list-walks.jsonl"
    if not file.exists():
        pytest.skip("the recordings are not beside the project")
    bodies = [json.loads(line)["body"] for line in file.read_text().splitlines()]
    return [json.dumps(body, ensure_ascii=False).encode() for body in bodies if body.get("data")]


def test_recorded_pages_arrive_whole():
    """Every completion that the real service was recorded to list is flattened without a reject, nothing left over."""
    received = {row["id"]: row for page in recorded_pages() for row in page_rows(page)}
    batch = flatten(segment(*received.values()))
    sent = {id_: json.loads(row["body"]) for id_, row in received.items()}
    assert len(sent) == 373
    assert batch.rejected == 0
    for found in rows(batch, "completions"):
        assert found["extra"] is None
        assert _as_sent(found) == _told(sent[found["id"]])
    answers = {found["completion_id"]: found["content"] for found in rows(batch, "choices")}
    assert answers == {id_: body["choices"][0]["message"]["content"] for id_, body in sent.items()}
    in_order = sorted(sent.values(), key=lambda body: (body["created"], body["id"]))
    called = [call for body in in_order for call in body["choices"][0]["message"]["tool_calls"] or ()]
    assert [(found["id"], found["arguments"]) for found in rows(batch, "tool_calls")] == [
        (call["id"], call["function"]["arguments"]) for call in called
    ]
    assert all(found["name"] for found in rows(batch, "tool_calls"))


def _as_sent(found):
    usage = {name: found[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    same = {name: found[name] for name in ("id", "object", "model", "request_id", "seed", "top_p", "service_tier")}
    texts = {name: json.loads(found[name] or "null") for name in ("tools", "tool_choice", "response_format")}
    return {**same, **texts, "created": found["created_unix"], "metadata": dict(found["metadata"]), "usage": usage}


def _told(body):
    return {name: body[name] for name in _COMPARED}
