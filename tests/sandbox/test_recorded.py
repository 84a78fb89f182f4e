"""The sandbox is like the real service: it loses what that lost, and its answers have the same shapes."""

import json

import pytest

from pipeline.errors import UsageError
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.generate import month
from pipeline.sandbox.recordings import load
from pipeline.sandbox.shape import Shape
from pipeline.sandbox.store import Store

from .asking import LIST, NOW, RECORDINGS, asking, ids, needs_recordings, recorded, stocked, walk

WALKS = "list-walks.jsonl"
OTHERS = "messages-and-retrieve.jsonl"


def shape_of(value):
    """Reduce a JSON value to its keys and types; of a list, to the shapes that its members have."""
    if isinstance(value, dict):
        return {key: shape_of(one) for key, one in value.items()}
    if isinstance(value, list):
        return [json.loads(text) for text in sorted({json.dumps(shape_of(one)) for one in value})]
    return type(value).__name__


@needs_recordings
@pytest.mark.parametrize("seed", range(5))
def test_bites(seed):
    """A walk by the last id, no order given, loses rows, and each shares its second with the last row of a page."""
    store = Store(clock=Clock(NOW), seed=seed)
    assert load(store, RECORDINGS / WALKS) == 373
    with asking(store) as (_, client):
        pages = walk(client)
    lost = store.visible_ids() - set(ids(*pages))
    boundaries = {page["data"][-1]["created"] for page in pages}
    assert lost
    assert {json.loads(store.retrieve(row))["created"] for row in lost} <= boundaries
    assert pages[0]["data"][0]["created"] > pages[-1]["data"][-1]["created"]


@needs_recordings
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_exact_loses_nothing(order):
    """The same walk on a server with an exact cursor shows every row once."""
    store = Store(clock=Clock(NOW), shape=Shape(cursor="exact"))
    load(store, RECORDINGS / WALKS)
    with asking(store) as (_, client):
        seen = ids(*walk(client, order=order))
    assert len(seen) == 373
    assert set(seen) == store.visible_ids()


@needs_recordings
def test_ties_move():
    """Two walks show the rows of one second in different orders, as the two recorded walks do."""
    store = Store(clock=Clock(NOW))
    load(store, RECORDINGS / WALKS)
    with asking(store) as (_, client):
        first, second = (ids(client.get(LIST, params={"limit": 100}).json()) for _ in range(2))
    assert first != second
    created = [[json.loads(store.retrieve(row))["created"] for row in page] for page in (first, second)]
    assert created[0] == created[1]


@needs_recordings
def test_rows_are_served_as_recorded():
    """A recorded row comes back with every value, seeds beyond 2^53 included."""
    store = Store(clock=Clock(NOW))
    load(store, RECORDINGS / WALKS)
    known = {row["id"]: row for answer in recorded(WALKS) for row in answer["body"]["data"]}
    with asking(store) as (_, client):
        rows = client.get(LIST, params={"limit": 100}).json()["data"]
    assert all(row == known[row["id"]] for row in rows)


@needs_recordings
def test_list_shapes():
    """Envelope, row and headers of what the sandbox creates have the recorded keys and types."""
    store = Store(clock=Clock(NOW))
    answer = recorded(WALKS)[0]
    with asking(store) as (_, client):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "metadata": {"k": "v"}}
        client.post(LIST, json=body).raise_for_status()
        store.clock.advance(60)
        got = client.get(LIST)
        one = client.get(f"{LIST}/{got.json()['first_id']}").json()
    assert set(answer["headers"]) <= set(got.headers)
    assert {**shape_of(got.json()), "data": 0} == {**shape_of(answer["body"]), "data": 0}
    recorded_row = {**answer["body"]["data"][0], "metadata": {"k": "v"}}
    assert shape_of(got.json()["data"][0]) == shape_of(recorded_row) == shape_of(one)


@needs_recordings
def test_generated_rows_have_the_recorded_keys():
    """A generated row has the recorded keys in the recorded order."""
    store = Store(clock=Clock(NOW))
    month(store, completions=50, days=2, until=NOW - 86_400)
    keys = list(recorded(WALKS)[0]["body"]["data"][0])
    assert all(list(json.loads(body)) == keys for body in store.bodies().values())


@needs_recordings
def test_message_shapes():
    """Message pages, image parts included, have the recorded keys, types and flattened text."""
    pages = [answer["body"] for answer in recorded(OTHERS) if answer["path"].endswith("messages")]
    known = next(page for page in pages if any(row["content_parts"] for row in page.get("data", ())))
    text, image = known["data"][1]["content_parts"]
    content = [
        {"type": "text", "text": text["text"]},
        {"type": "image_url", "image_url": {"url": image["image_url"]["url"]}},
    ]
    asked = [{"role": "user", "content": known["data"][0]["content"]}, {"role": "user", "content": content}]
    store = Store(clock=Clock(NOW))
    store.add({"id": "chatcmpl-1", "created": NOW}, messages=asked)
    with asking(store) as (_, client):
        got = client.get(f"{LIST}/chatcmpl-1/messages").json()
    assert shape_of(got) == shape_of(known)
    unnamed = [[{**row, "id": None} for row in page["data"]] for page in (got, known)]
    assert unnamed[0] == unnamed[1]


@needs_recordings
def test_error_and_empty_shapes():
    """A 404 and an empty page are the recorded ones, word for word."""
    answers = recorded(OTHERS)
    error = next(answer for answer in answers if answer["status"] == 404)
    name = error["path"].split("/")[4]
    empty = next(answer["body"] for answer in answers if answer["body"].get("data") == [])
    with asking(stocked([])) as (_, client):
        refused = client.get(f"{LIST}/{name}")
        assert (refused.status_code, refused.json()) == (404, error["body"])
        assert client.get(LIST).json() == empty


@needs_recordings
def test_retrieve_answers_the_bare_completion():
    """Retrieve answers with the bare completion, as recorded."""
    known = next(answer["body"] for answer in recorded(OTHERS) if answer["body"].get("object") == "chat.completion")
    store = Store(clock=Clock(NOW))
    store.add(known)
    with asking(store) as (_, client):
        assert client.get(f"{LIST}/{known['id']}").json() == known


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a","created":1,"choices":[]}\n{"id":"b","created":2,"choices":[]}\n',
        '{"object":"list","data":[{"id":"a","created":1,"choices":[]},{"id":"b","created":2,"choices":[]}]}',
        '{"body":{"data":[{"id":"a","created":1,"choices":[]}]}}\n\n{"body":{"data":[{"id":"b","choices":[]}]}}',
    ],
    ids=["completions", "page", "recorded answers"],
)
def test_loads(tmp_path, text):
    """Bare completions, one page, and recorded answers are all loaded."""
    (tmp_path / "file").write_text(text, encoding="utf-8")
    store = Store(clock=Clock(NOW))
    assert load(store, tmp_path / "file") == 2
    assert store.visible_ids() == {"a", "b"}


def test_load_names_a_bad_line(tmp_path):
    """A line that is not JSON is named by its number."""
    (tmp_path / "file").write_text('{"id":"a","choices":[]}\nnonsense\n', encoding="utf-8")
    with pytest.raises(UsageError, match="line 2"):
        load(Store(), tmp_path / "file")
