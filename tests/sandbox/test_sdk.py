"""The official SDK is a client of the sandbox, and its types accept what that sends but for known differences."""

import json
from contextlib import contextmanager

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionDeleted, ChatCompletionStoreMessage
from pydantic import ValidationError

from pipeline.sandbox.clock import Clock
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.generate import DAY, month
from pipeline.sandbox.server import Server
from pipeline.sandbox.shape import SHAPES, Shape
from pipeline.sandbox.store import Store

from .asking import NOW, needs_recordings, recorded, stocked

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
RECORDED = ("list-walks.jsonl", "messages-and-retrieve.jsonl")

#: What the SDK's types refuse, as (place, pydantic's word for it), and which keys they do not know: by house, for rows.
REFUSED = {
    "openai": set(),
    "azure": {("object", "literal_error"), ("choices.*.finish_reason", "literal_error")},
    "ogx": set(),
}
UNKNOWN = {
    "openai": {
        *("request_id", "seed", "tool_choice", "tools", "input_user", "response_format"),
        *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    },
    "azure": {"request_id", "seed", "temperature", "top_p", "presence_penalty", "frequency_penalty"},
    "ogx": {"input_messages"},
}
#: The same for messages, which are the model's alone in the types and everybody's in truth. Each part has all keys.
MESSAGES_REFUSED = {("role", "literal_error")}
MESSAGES_UNKNOWN = {
    "name",
    *(f"content_parts.*.{key}" for key in ("text", "image_url", "input_audio", "file")),
}


def refused(model, value):
    """Return what strict validation does not like."""
    try:
        model.model_validate(value, strict=True)
    except ValidationError as error:
        return {(_place(one["loc"]), one["type"]) for one in error.errors()}
    return set()


def unknown(value, place=()):
    """Return the keys that no type of the SDK declares."""
    if isinstance(value, list):
        return set().union(*(unknown(one, (*place, "*")) for one in value))
    if not isinstance(value, openai.BaseModel):
        return set()
    fields = (unknown(getattr(value, name), (*place, name)) for name in type(value).model_fields)
    return set().union({_place((*place, name)) for name in value.model_extra or {}}, *fields)


def _place(keys):
    return ".".join("*" if isinstance(key, int) else key for key in keys)


def judged(model, values):
    """Return everything refused and unknown in JSON values."""
    each = [(refused(model, value), unknown(model.construct(**value))) for value in values]
    return tuple(set().union(*column) for column in zip(*each, strict=True))


@contextmanager
def sdk(store, **options):
    """Serve a store and hand out the server and the SDK, which does not retry."""
    with (
        Server(store, **options) as server,
        openai.OpenAI(base_url=server.base_url, api_key="sk-any", max_retries=0) as client,
    ):
        yield server, client.chat.completions


def a_month(name="openai"):
    """Return a store with a month of completions, all visible."""
    store = Store(clock=Clock(NOW), shape=Shape.named(name))
    month(store, completions=300, until=NOW - DAY)
    return store


@pytest.mark.parametrize(("cursor", "lost"), [("second", True), ("exact", False)])
def test_auto_paging(cursor, lost):
    """The SDK's own paging brings every row home where the cursor is exact, and loses rows where it is a second."""
    store = stocked([NOW - 9] * 5 + [NOW - 8] * 5, shape=Shape(cursor=cursor))
    with sdk(store) as (server, completions):
        seen = [completion.id for completion in completions.list(limit=3)]
        assert len(server.requests) > 1
    assert len(seen) == len(set(seen))
    assert (set(seen) < store.visible_ids()) == lost
    assert (set(seen) == store.visible_ids()) != lost


def test_filters():
    """The SDK's way to write filters is understood, and both must match."""
    store = stocked([NOW - 3, NOW - 2, NOW - 1])
    with sdk(store) as (server, completions):
        assert [one.id for one in completions.list(metadata={"n": "1"}, model="m", order="asc")] == ["r1"]
        assert not list(completions.list(metadata={"n": "1"}, model="other"))
        assert server.requests[0].query == {"metadata[n]": "1", "model": "m", "order": "asc"}


def test_create_retrieve_messages_update_delete():
    """A completion's life by the SDK: created, then visible, its messages paged, its metadata edited, gone."""
    store = Store(clock=Clock(NOW))
    with sdk(store) as (_, completions):
        created = completions.create(model="gpt-4o-mini", messages=ASKED, store=True, metadata={"a": "1"})
        with pytest.raises(openai.NotFoundError) as early:
            completions.retrieve(created.id)
        store.clock.advance(60)
        assert completions.retrieve(created.id).metadata == {"a": "1"}
        texts = [message.content for message in completions.messages.list(created.id, limit=1)]
        assert completions.update(created.id, metadata={"b": "2"}).metadata == {"b": "2"}
        assert [one.metadata for one in completions.list()] == [{"b": "2"}]
        gone = completions.delete(created.id)
        assert not list(completions.list())
    assert early.value.code == "not_found"
    assert texts == ["Be brief.", "hi"]
    assert not refused(ChatCompletion, json.loads(created.to_json()))
    assert not refused(ChatCompletionDeleted, json.loads(gone.to_json()))
    assert gone.deleted


@pytest.mark.parametrize("shape", ["azure", "azure-preview"])
def test_azure_client(shape):
    """The SDK's client for Azure finds both paths, with its own header for the key."""
    store = stocked([NOW - 2, NOW - 1], shape=Shape.named(shape))
    with Server(store, key="sk-azure") as server:
        path, _, query = server.base_url.partition("?")
        version = query.removeprefix("api-version=") or "preview"
        with openai.AzureOpenAI(base_url=path, api_key="sk-azure", api_version=version) as client:
            assert [one.id for one in client.chat.completions.list(limit=1)] == ["r0", "r1"]


def test_errors_are_the_sdks_own():
    """Statuses arrive as the SDK's error of that name, with the code that was sent."""
    kinds = {"401": openai.AuthenticationError, "403": openai.PermissionDeniedError, "money": openai.RateLimitError}
    faults = [Fault(kind, at=number) for number, kind in enumerate(kinds, 1)]
    with sdk(stocked([1]), faults=faults) as (_, completions):
        for error in kinds.values():
            with pytest.raises(error) as told:
                completions.list()
    assert told.value.code == "insufficient_quota"


def test_post_only_gateway():
    """On a gateway that only creates the SDK's list ends in the 405 that users report."""
    with sdk(stocked([1], shape=Shape.named("post-only"))) as (_, completions):
        with pytest.raises(openai.APIStatusError) as told:
            completions.list()
        assert completions.create(model="m", messages=ASKED).choices
    assert told.value.status_code == 405


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "post-only"])
def test_rows_fit_the_types(name):
    """Rows of every shape fit the SDK's types but for exactly the differences listed."""
    store = a_month(name)
    house = store.shape.house
    rows = [json.loads(body) for body in store.bodies().values()]
    assert judged(ChatCompletion, rows) == (REFUSED[house], UNKNOWN[house])


def test_messages_fit_the_types():
    """Messages, image parts among them, fit the SDK's types but for exactly the differences listed."""
    store = a_month()
    rows = [json.loads(row) for one in store.visible_ids() for row in store.messages(one).rows]
    assert judged(ChatCompletionStoreMessage, rows) == (MESSAGES_REFUSED, MESSAGES_UNKNOWN)


@needs_recordings
def test_the_real_service_differs_in_the_same_way():
    """The recorded answers have exactly the differences that the sandbox's have."""
    bodies = [answer["body"] for name in RECORDED for answer in recorded(name)]
    rows = [row for body in bodies for row in body.get("data", [body])]
    completions = [row for row in rows if "choices" in row]
    messages = [row for row in rows if "role" in row]
    assert judged(ChatCompletion, completions) == (REFUSED["openai"], UNKNOWN["openai"])
    assert judged(ChatCompletionStoreMessage, messages) == (MESSAGES_REFUSED, MESSAGES_UNKNOWN)
