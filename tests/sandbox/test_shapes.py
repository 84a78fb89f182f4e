"""Each named shape behaves as its server is known to, as a plain client sees it."""

import json

import httpx
import pytest

from pipeline.errors import UsageError
from pipeline.sandbox.app import NO_PERMISSION_KEY
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.create import choice, stored_row, usage
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.shape import SHAPES, Shape
from pipeline.sandbox.store import Store

from .asking import LIST, NOW, asking, ids, stocked, walk

AZURES = ("azure", "azure-preview")
LISTING = [name for name in SHAPES if name != "post-only"]
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


def whole(name, **options):
    """Return a store with one completion that has everything, on a server of that name."""
    store = Store(clock=Clock(NOW), shape=Shape.named(name), **options)
    row = stored_row(
        id="one",
        model="m",
        created=NOW - 9,
        request_id="req_1",
        seed=-(2**62),
        usage=usage(5, 9, prompt_tokens_details={"cached_tokens": 4}),
        system_fingerprint="fp_1",
        metadata={"team": "search"},
        choices=[choice(0, "Hello!")],
        tools=[{"type": "function", "function": {"name": "f"}}],
    )
    store.add(row, messages=ASKED)
    return store


@pytest.mark.parametrize("name", LISTING)
def test_base_url_leads_to_the_list(name):
    """The base URL of each shape, its query kept, leads to rows that are byte for byte the truth."""
    store = stocked(range(NOW - 30, NOW), shape=Shape.named(name))
    with asking(store) as (server, client):
        answer = client.get(LIST, params={"limit": 30})
        base = httpx.URL(server.base_url)
    assert answer.status_code == 200
    assert base.params.get("api-version") == SHAPES[name].get("api_version")
    assert all(body in answer.content for body in store.bodies().values())
    assert set(ids(answer.json())) == store.visible_ids()


def test_switches_win_over_the_name():
    """A named shape takes other switches over its own, and an unknown name is refused with the known ones."""
    assert Shape.named("openai") == Shape()
    assert Shape.named("ogx", max_limit=7, cursor="exact").max_limit == 7
    with pytest.raises(UsageError, match="azure-preview"):
        Shape.named("nobody")


@pytest.mark.parametrize("name", ["openai", *AZURES, "ogx"])
def test_a_naive_walk_loses_rows(name):
    """Where the cursor means a second, a walk by the last id loses rows."""
    store = stocked([NOW - 9] * 5 + [NOW - 8] * 5, shape=Shape.named(name))
    with asking(store) as (_, client):
        assert set(ids(*walk(client, limit=3))) < store.visible_ids()


@pytest.mark.parametrize("name", AZURES)
def test_azure_rows(name):
    """Azure nulls what it does not tell and leaves out what it does not keep; retrieve alone tells the object."""
    with asking(whole(name)) as (_, client):
        page = client.get(LIST).json()
        one = client.get(f"{LIST}/one").json()
    (row,) = page.pop("data")
    assert page == {"object": "list", "first_id": "one", "last_id": "one", "has_more": False, "total": 1}
    assert (row["object"], row["service_tier"], row["choices"][0]["finish_reason"]) == (None, None, None)
    assert row["usage"].items() >= {"prompt_tokens_details": None, "completion_tokens_details": None}.items()
    assert row["usage"]["total_tokens"] == 14
    assert row["choices"][0]["message"].items() >= {"refusal": None, "audio": None, "content": "Hello!"}.items()
    assert (row["seed"], row["metadata"]) == (-(2**62), {"team": "search"})
    assert not {"tools", "tool_choice", "response_format", "input_user"} & set(row)
    assert one == {**row, "object": "chat.completion"}


@pytest.mark.parametrize("name", AZURES)
def test_azure_headers_and_errors(name):
    """Azure names a request in a header of its own, no project, and says code and message of an error."""
    with asking(whole(name), faults=[Fault("429", at=2)]) as (_, client):
        answers = [client.get(LIST), client.get(LIST), client.get(f"{LIST}/nobody")]
    assert all("apim-request-id" in answer.headers for answer in answers)
    assert not any(name.startswith(("openai-", "x-request")) for answer in answers for name in answer.headers)
    assert [answer.json()["error"] for answer in answers[1:]] == [
        {"code": "rate_limit_exceeded", "message": "Rate limit reached for requests."},
        {"code": "not_found", "message": "Completion nobody not found"},
    ]


@pytest.mark.parametrize("header", [("api-key", "sk-good"), ("authorization", "Bearer sk-good")])
def test_azure_takes_the_key_either_way(header):
    """The key may stand in ``api-key`` or as a bearer, is judged in both, and is not logged."""
    with asking(whole("azure"), key="sk-good") as (server, client):
        statuses = [
            client.get(LIST, headers=headers).status_code
            for headers in ({}, dict([header]), {header[0]: "sk-bad"}, {header[0]: NO_PERMISSION_KEY})
        ]
        assert not any({"api-key", "authorization"} & set(request.headers) for request in server.requests)
    assert statuses == [401, 200, 401, 403]


def test_api_key_header_is_azures():
    """No other server knows the ``api-key`` header."""
    with asking(whole("openai"), key="sk-good") as (_, client):
        assert client.get(LIST, headers={"api-key": "sk-good"}).status_code == 401


def test_azure_preview_without_api_version():
    """On the older path nothing is found without ``api-version``."""
    with asking(whole("azure-preview")) as (server, client):
        bare = httpx.URL(server.base_url).copy_with(query=None)
        answer = httpx.get(f"{bare}{LIST}", trust_env=False)
        assert client.get(LIST).status_code == 200
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "404", "message": "Resource not found"}}


def test_ogx_rows():
    """OGX keeps five columns and the input messages, which stand in the row; the rest is null or absent."""
    with asking(whole("ogx")) as (_, client):
        row = client.get(LIST).json()["data"][0]
        one = client.get(f"{LIST}/one").json()
    assert one == row
    assert set(row) == {
        *("id", "created", "model", "object", "choices", "input_messages"),
        *("usage", "service_tier", "system_fingerprint"),
    }
    assert (row["input_messages"], row["usage"]) == (ASKED, None)


def test_ogx_list():
    """OGX is newest first, takes any limit, ignores the metadata filter, and has blank ids on an empty page."""
    with asking(stocked(range(150), shape=Shape.named("ogx"))) as (_, client):
        page = client.get(LIST, params={"limit": 5000, "metadata[n]": "1"}).json()
        empty = client.get(LIST, params={"model": "nothing"}).json()
        assert client.get(LIST, params={"limit": 0}).status_code == 400
    assert ids(page) == [f"r{number}" for number in range(149, -1, -1)]
    assert empty == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


def test_ogx_errors():
    """What OGX does not know, as an anchor or as a completion, is 400 with a message and nothing else."""
    with asking(stocked([1], shape=Shape.named("ogx"))) as (_, client):
        answers = [client.get(LIST, params={"after": "x"}), client.get(f"{LIST}/x"), client.get(f"{LIST}/x/messages")]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert all(list(answer.json()["error"]) == ["message"] for answer in answers)
    assert not any(name.startswith(("openai-", "x-request")) for answer in answers for name in answer.headers)


def test_ogx_rows_of_others_shorten_pages():
    """Rows of other owners take up a page and are not shown: it is short, or empty with more to come."""
    store = stocked([1, 5], shape=Shape.named("ogx"))
    for second in (2, 3, 4):
        store.add({"id": f"theirs-{second}", "created": second}, foreign=True)
    with asking(store) as (_, client):
        first = client.get(LIST, params={"order": "asc", "limit": 2}).json()
        second = client.get(LIST, params={"order": "asc", "limit": 2, "after": "r0"}).json()
        assert client.get(f"{LIST}/theirs-2").status_code == 400
    assert (ids(first), first["last_id"], first["has_more"]) == (["r0"], "r0", True)
    assert second == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": True}
    assert store.visible_ids() == {"r0", "r1"}
    assert len(store) == 2
    assert {store.sample() for _ in range(30)} == {"r0", "r1"}


def test_ogx_overwrites_in_place():
    """An id that is stored again replaces its row, and moves it where ``created`` is another."""
    store = stocked([1, 2, 3], shape=Shape.named("ogx"))
    store.add({"id": "r0", "created": 9, "model": "again"})
    with asking(store) as (_, client):
        page = client.get(LIST).json()
    assert ids(page) == ["r0", "r2", "r1"]
    assert (page["data"][0]["created"], page["data"][0]["model"]) == (9, "again")


def test_ogx_stores_everything_and_changes_nothing():
    """Every call is stored whatever ``store`` says; there is no route to edit or delete."""
    store = Store(clock=Clock(NOW), shape=Shape.named("ogx"))
    with asking(store) as (_, client):
        client.post(LIST, json={"model": "m", "messages": ASKED, "store": False}).raise_for_status()
        store.clock.advance(60)
        (row,) = client.get(LIST).json()["data"]
        one = f"{LIST}/{row['id']}"
        assert client.post(one, json={"metadata": {}}).status_code == client.delete(one).status_code == 405
        messages = client.get(f"{one}/messages").json()
    assert row["input_messages"] == ASKED
    assert [message["role"] for message in messages["data"]] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", LIST), ("GET", f"{LIST}/x"), ("DELETE", f"{LIST}/x"), ("GET", f"{LIST}/x/messages"), ("GET", "/models")],
)
def test_post_only(method, path):
    """A gateway that only creates answers 405 to everything else."""
    with asking(stocked([1], shape=Shape.named("post-only"))) as (server, client):
        answer = client.request(method, path)
        assert client.post(LIST, json={"model": "m", "messages": ASKED}).status_code == 200
        assert server.requests[0].list_number == (1 if path == LIST else None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_supported")


@pytest.mark.parametrize("name", LISTING)
def test_edits_show(name):
    """An edit of the store shows in the list of every shape, in the row's own words."""
    store = whole(name)
    store.edit("one", {"new": "pair"})
    with asking(store) as (_, client):
        (row,) = client.get(LIST).json()["data"]
    assert row["metadata"] == {"new": "pair"}
    assert row["object"] == (None if name in AZURES else "chat.completion")


@pytest.mark.parametrize("name", AZURES)
def test_bytes_are_nobodys_words(name):
    """Bytes are served as they are by every house, in the list and alone."""
    store = Store(clock=Clock(NOW), shape=Shape.named(name))
    body = b'{"id":"h","created":7,"object":"chat.completion","tools":[]}'
    store.add(body)
    assert store.list().rows == (body,)
    assert store.retrieve("h") == body
    assert json.loads(store.retrieve(store.add({"id": "d", "created": 1})))["object"] == "chat.completion"
