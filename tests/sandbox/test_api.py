"""The routes over a real socket, as a plain client sees them."""

from email.utils import parsedate_to_datetime

import pytest

from pipeline.sandbox.app import NO_PERMISSION_KEY, Identity
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.shape import Shape
from pipeline.sandbox.store import Store

from .asking import LIST, NOW, asking, ids, stocked

CREATE = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def test_newest_first_twenty_at_a_time():
    """Without parameters a page has the twenty newest rows, newest first."""
    with asking(stocked(range(NOW - 30, NOW))) as (_, client):
        page = client.get(LIST).json()
    assert ids(page) == [f"r{number}" for number in range(29, 9, -1)]
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("r29", "r10", True)


def test_order_is_honoured_and_its_default_is_a_switch():
    """Both orders can be asked for; a shape may default to the documented ``asc``."""
    with asking(stocked([1, 2, 3], shape=Shape(default_order="asc"))) as (_, client):
        assert ids(client.get(LIST).json()) == ["r0", "r1", "r2"]
        assert ids(client.get(LIST, params={"order": "desc"}).json()) == ["r2", "r1", "r0"]


def test_empty_page_has_null_ids():
    """Nothing to show: no data, null ids, no more."""
    with asking(stocked([])) as (_, client):
        page = client.get(LIST).json()
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "0"}, "integer_below_min_value"),
        ({"limit": "101"}, "integer_above_max_value"),
        ({"limit": "many"}, "invalid_type"),
        ({"order": "random"}, "invalid_value"),
    ],
)
def test_bad_parameters(params, code):
    """A bad parameter is a 400 with the API's error body."""
    with asking(stocked([1])) as (_, client):
        answer = client.get(LIST, params=params)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", *params, code)


def test_filters_and_unknown_parameters():
    """``metadata[k]=v`` and ``model`` filter; a parameter that the API does not know changes nothing."""
    with asking(stocked([1, 2, 3])) as (_, client):
        assert ids(client.get(LIST, params={"metadata[n]": "1", "model": "m"}).json()) == ["r1"]
        assert ids(client.get(LIST, params={"model": "other"}).json()) == []
        assert len(ids(client.get(LIST, params={"created_after": "2"}).json())) == 3


def test_created_completion_surfaces_late():
    """A created completion is 404 until generation and lag have passed, and then is listed bare."""
    store = Store(clock=Clock(NOW))
    with asking(store) as (_, client):
        told = client.post(LIST, json=CREATE).raise_for_status()
        one = f"{LIST}/{told.json()['id']}"
        assert client.get(one).status_code == client.delete(one).status_code == 404
        assert client.get(f"{one}/messages").status_code == 404
        store.clock.advance(store.shape.generation + store.shape.lag)
        (row,) = client.get(LIST).json()["data"]
    assert row["id"] == told.json()["id"]
    assert row["request_id"] == told.headers["x-request-id"]
    assert row["model"] == "gpt-4o-mini-2024-07-18"
    assert set(row["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert "prompt_tokens_details" in told.json()["usage"]
    message = row["choices"][0]["message"]
    assert message["tool_calls"] is message["function_call"] is None
    assert "refusal" not in message


def test_not_everything_is_stored():
    """``store: false`` answers and stores nothing; a request without messages is refused."""
    store = Store(clock=Clock(NOW))
    with asking(store) as (_, client):
        assert client.post(LIST, json={**CREATE, "store": False}).status_code == 200
        assert client.post(LIST, json={"model": "m"}).status_code == 400
        assert client.post(LIST, json={"messages": CREATE["messages"]}).status_code == 400
        assert client.post(LIST, json={**CREATE, "stream": True}).status_code == 400
    store.clock.advance(60)
    assert len(store) == 0


def test_seeds_fill_64_bits():
    """Seeds are signed 64-bit integers, almost all of them beyond what a float holds."""
    store = Store(clock=Clock(NOW))
    with asking(store) as (_, client):
        for _ in range(20):
            client.post(LIST, json=CREATE).raise_for_status()
        store.clock.advance(60)
        seeds = [row["seed"] for row in client.get(LIST).json()["data"]]
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    assert min(seeds) < 0 < 2**53 < max(seeds)


def test_metadata_is_replaced_and_rows_are_deleted():
    """POST replaces the metadata, DELETE takes the row away and says so; both need a visible row."""
    with asking(stocked([1])) as (server, client):
        edited = client.post(f"{LIST}/r0", json={"metadata": {"a": "b"}}).json()
        assert edited["metadata"] == {"a": "b"}
        assert client.get(f"{LIST}/r0").json() == edited
        assert client.post(f"{LIST}/r0", json={}).status_code == 400
        deleted = client.delete(f"{LIST}/r0").json()
        assert deleted == {"object": "chat.completion.deleted", "id": "r0", "deleted": True}
        assert [client.request(method, f"{LIST}/r0").status_code for method in ("GET", "DELETE")] == [404, 404]
        assert client.post(f"{LIST}/r0", json={"metadata": {}}).status_code == 404
        assert server.store.visible_ids() == set()


def test_messages_are_paged_oldest_first():
    """Input messages come in order with derived ids, page by page, and an empty page behind the last."""
    store = Store(clock=Clock(NOW))
    store.add({"id": "c", "created": 1}, messages=[{"role": "user", "content": str(n)} for n in range(4)])
    with asking(store) as (_, client):
        first = client.get(f"{LIST}/c/messages", params={"limit": 2}).json()
        second = client.get(f"{LIST}/c/messages", params={"limit": 2, "after": first["last_id"]}).json()
        third = client.get(f"{LIST}/c/messages", params={"after": second["last_id"]}).json()
        newest = client.get(f"{LIST}/c/messages", params={"order": "desc", "limit": 1}).json()
        assert client.get(f"{LIST}/c/messages", params={"after": "c-9"}).status_code == 404
    assert ids(first, second) == ["c-0", "c-1", "c-2", "c-3"]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (third["data"], third["first_id"]) == ([], None)
    assert ids(newest) == ["c-3"]


def test_headers_are_the_stores():
    """The date is the store's clock, once; organization and project are the sandbox's."""
    with asking(stocked([1]), identity=Identity("org-a", "proj_b")) as (_, client):
        headers = client.get(LIST).headers
        other = client.get(LIST).headers
    assert [parsedate_to_datetime(date).timestamp() for date in headers.get_list("date")] == [NOW]
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-a", "proj_b")
    assert headers["openai-version"] == "2020-10-01"
    assert int(headers["openai-processing-ms"]) >= 1
    assert headers["x-request-id"] != other["x-request-id"]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [("sk-good", 200, None), ("sk-bad", 401, "invalid_api_key"), ("", 401, None), (NO_PERMISSION_KEY, 403, None)],
)
def test_key(key, status, code):
    """The right key lists; a wrong or missing one is 401, one without permission 403, with the API's body."""
    with asking(stocked([1]), key="sk-good") as (server, client):
        answer = client.get(LIST, headers={"authorization": f"Bearer {key}"} if key else {})
        assert answer.status_code == status
        assert "authorization" not in server.requests[0].headers
    if status != 200:
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert code is None or answer.json()["error"]["code"] == code


def test_no_such_route():
    """Unknown paths are 404 and unknown methods 405, with the API's error body."""
    with asking(stocked([])) as (_, client):
        unknown, method = client.get("/responses"), client.put(LIST)
    assert (unknown.status_code, method.status_code) == (404, 405)
    assert unknown.json()["error"]["code"] == "unknown_url"
    assert method.json()["error"]["code"] == "method_not_supported"


def test_gzip_where_the_client_takes_it():
    """Pages are compressed for clients that accept gzip, the length is true, and the text is the same."""
    with asking(stocked(range(50), shape=Shape(cursor="exact"))) as (server, client):
        plain = client.get(LIST, headers={"accept-encoding": "identity"})
        with client.stream("GET", LIST, headers={"accept-encoding": "gzip"}) as zipped:
            raw = b"".join(zipped.iter_raw())
        again = client.get(LIST)
        assert server.base_url.endswith("/v1")
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) == len(raw) < len(plain.content)
    assert again.content == plain.content


def test_connection_is_kept():
    """Requests of one client share a connection, errors included."""
    with asking(stocked([1])) as (_, client):
        ports = set()
        for path in (LIST, f"{LIST}/nobody", LIST):
            with client.stream("GET", path) as answer:
                ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
                answer.read()
    assert len(ports) == 1


def test_ids_of_ten_thousand_characters():
    """An id of 10,000 characters is listed, and can be asked for and continued from."""
    store = stocked([NOW - 2])
    long = store.add(b'{"id":"%b","created":%d}' % (b"n" * 10_000, NOW - 1))
    with asking(store) as (_, client):
        assert ids(client.get(LIST).json()) == [long, "r0"]
        assert ids(client.get(LIST, params={"after": long}).json()) == ["r0"]
        assert client.get(f"{LIST}/{long}").json()["id"] == long
