"""Each fault does what its name says, as a plain client sees it."""

import json
import socket
import zlib
from email.utils import parsedate_to_datetime

import httpx
import pytest

from pipeline.errors import UsageError
from pipeline.sandbox.bulk import MEGABYTE
from pipeline.sandbox.faults import ANCHORS, KINDS, REDIRECTS, STATUSES, Fault

from .asking import LIST, NOW, asking, ids, stocked, walk

PLAIN = {"accept-encoding": "identity"}
ROWS = range(NOW - 30, NOW)


@pytest.mark.parametrize("kind", STATUSES)
def test_status(kind):
    """A status comes with the API's error body, for the requests named and no other."""
    with asking(stocked(ROWS), faults=[Fault(kind, at=2, times=2)]) as (server, client):
        answers = [client.get(LIST) for _ in range(4)]
    status = 429 if kind == "money" else int(kind)
    assert [answer.status_code for answer in answers] == [200, status, status, 200]
    assert set(answers[1].json()["error"]) == {"message", "type", "param", "code"}
    assert [request.status for request in server.requests] == [200, status, status, 200]


def test_money_has_its_code():
    """The 429 about money is told apart by its code, and has no header that says when to come back."""
    with asking(stocked(ROWS), faults=[Fault("money")]) as (_, client):
        answer = client.get(LIST)
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert not {"retry-after", "retry-after-ms"} & set(answer.headers)


@pytest.mark.parametrize(
    ("text", "header", "value"),
    [
        ("1:429:retry-after-ms=10", "retry-after-ms", "10"),
        ("1:503:retry-after=2", "retry-after", "2"),
        ("1:500:x-should-retry=false", "x-should-retry", "false"),
    ],
)
def test_status_header(text, header, value):
    """A status carries the header that was asked for."""
    with asking(stocked(ROWS), faults=[Fault.parse(text)]) as (_, client):
        assert client.get(LIST).headers[header] == value


def test_retry_after_as_a_date():
    """``date+N`` is a date N seconds after the one in the answer."""
    with asking(stocked(ROWS), faults=[Fault.parse("1:429:retry-after=date+3")]) as (_, client):
        headers = client.get(LIST).headers
    assert parsedate_to_datetime(headers["retry-after"]).timestamp() == NOW + 3


def test_stalled_body():
    """A stalled answer has its headers and half its body, and then nothing until the client gives up."""
    options = {"headers": {"accept-encoding": "identity"}, "timeout": httpx.Timeout(5, read=0.2)}
    with asking(stocked(ROWS), faults=[Fault("stall")]) as (_, client):
        with client.stream("GET", LIST, **options) as answer, pytest.raises(httpx.ReadTimeout):
            answer.read()
        assert (answer.status_code, answer.num_bytes_downloaded) == (200, int(answer.headers["content-length"]) // 2)
        assert client.get(LIST).status_code == 200


def test_reset():
    """A reset breaks the connection itself."""
    with asking(stocked(ROWS), faults=[Fault("reset")]) as (_, client):
        with pytest.raises(httpx.ReadError):
            client.get(LIST)
        assert client.get(LIST).status_code == 200


def test_cut():
    """A cut answer ends in mid-body with its length unmet."""
    with asking(stocked(ROWS), faults=[Fault("cut")]) as (_, client):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(LIST)
        assert client.get(LIST).status_code == 200


def test_drip_has_no_end():
    """A dripping answer never stalls and never ends: a client that waits between bytes alone waits for ever."""
    with asking(stocked(ROWS), faults=[Fault("drip")]) as (_, client):
        with client.stream("GET", LIST, timeout=httpx.Timeout(5, read=2)) as answer:
            drips = answer.iter_raw()
            assert [next(drips) for _ in range(5)] == [b" "] * 5
            drips.close()
        assert client.get(LIST).status_code == 200


def test_drip_that_ends():
    """A drip that is counted ends with the true page, which is valid JSON all the same."""
    with asking(stocked(ROWS), faults=[Fault.parse("1:drip:2")]) as (_, client):
        slow, quick = client.get(LIST), client.get(LIST)
    assert slow.text.startswith("  {")
    assert set(ids(slow.json())) == set(ids(quick.json()))


def _ports(client, times):
    """Ask so often and return the local port of each connection that was used."""
    ports = []
    for _ in range(times):
        with client.stream("GET", LIST) as answer:
            ports.append(answer.extensions["network_stream"].get_extra_info("client_addr"))
            answer.read()
    return ports


def test_close():
    """Each answer says that its connection closes, and a client that listens opens another one."""
    with asking(stocked(ROWS), faults=[Fault("close", times=2)]) as (_, client):
        ports = _ports(client, 4)
        assert client.get(LIST).headers.get("connection") is None
    assert len(set(ports)) == 3


def test_drop():
    """The connection promises to stay and is closed right behind a whole answer."""
    with asking(stocked(ROWS), faults=[Fault("drop")]) as (server, _):
        host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw, raw.makefile("rb") as heard:
            raw.sendall(b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n")
            told = heard.read()
    head, _, body = told.partition(b"\r\n\r\n")
    assert b"connection" not in head.lower()
    assert len(ids(json.loads(body))) == 20


def test_hang_up():
    """The connection closes instead of an answer, as when it had been idle for too long."""
    with asking(stocked(ROWS), faults=[Fault("hang-up", at=2)]) as (_, client):
        assert client.get(LIST).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.get(LIST)
        assert client.get(LIST).status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_truncated_json(encoding):
    """Truncated JSON is whole for HTTP: only the JSON ends too early."""
    headers = {"accept-encoding": encoding}
    with asking(stocked(ROWS), faults=[Fault("truncated-json")]) as (_, client):
        broken, whole = (client.get(LIST, headers=headers) for _ in range(2))
    assert broken.status_code == 200
    assert len(broken.content) == len(whole.content) // 2
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        broken.json()


def test_truncated_gzip():
    """Truncated gzip is whole for HTTP: only the compressed stream ends too early."""
    with asking(stocked(ROWS), faults=[Fault("truncated-gzip")]) as (_, client):
        with client.stream("GET", LIST) as answer:
            raw = b"".join(answer.iter_raw())
        assert len(raw) == int(answer.headers["content-length"])
        stream = zlib.decompressobj(wbits=31)
        stream.decompress(raw)
        assert not stream.eof


def test_html():
    """A page of HTML comes with status 200, as from a proxy."""
    with asking(stocked(ROWS), faults=[Fault("html")]) as (_, client):
        answer = client.get(LIST)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


def test_wrong_type():
    """A true page says that it is HTML."""
    with asking(stocked(ROWS), faults=[Fault("wrong-type")]) as (_, client):
        wrong, right = client.get(LIST, headers=PLAIN), client.get(LIST, headers=PLAIN)
    assert wrong.headers["content-type"] == "text/html; charset=utf-8"
    assert set(ids(wrong.json())) == set(ids(right.json()))


def test_big():
    """A page grows by so many megabytes in its first row, under its true length, and stays a true page."""
    with asking(stocked(ROWS), faults=[Fault.parse("1:big:3")]) as (_, client):
        answer = client.get(LIST)
        page = answer.json()
        assert int(answer.headers["content-length"]) == len(answer.content) > 3 * MEGABYTE
        assert set(ids(page)) == set(ids(client.get(LIST).json()))
    assert [len(row.get("padding", "")) for row in page["data"]] == [3 * MEGABYTE, *[0] * 19]


@pytest.mark.parametrize("rows", [[], [b"{}"], [b"[]", b'"text"']], ids=["no row", "empty row", "no object"])
def test_big_without_a_first_row(rows):
    """Where no row can grow the envelope does, and the page is JSON all the same."""
    store = stocked([])
    for row in rows:
        store.add(row)
    with asking(store, faults=[Fault.parse("1:big:1")]) as (_, client):
        answer = client.get(LIST)
    assert len(answer.content) > MEGABYTE
    assert len(answer.json()["data"]) == len(rows)


def test_big_may_be_left():
    """A client that has seen enough may go, and the next request is answered."""
    with asking(stocked(ROWS), faults=[Fault("big")]) as (_, client):
        with client.stream("GET", LIST) as answer:
            assert int(answer.headers["content-length"]) > 200 * MEGABYTE
            assert next(answer.iter_raw())
        assert client.get(LIST).status_code == 200


def test_bomb():
    """A small compressed body grows to so many megabytes of a true page, asked for or not."""
    with asking(stocked(ROWS), faults=[Fault.parse("1:bomb:8")]) as (_, client):
        answer = client.get(LIST, headers=PLAIN)
    assert int(answer.headers["content-length"]) < MEGABYTE / 50
    assert len(answer.content) > 8 * MEGABYTE
    assert len(ids(answer.json())) == 20


@pytest.mark.parametrize("kind", REDIRECTS)
def test_redirect(kind):
    """A redirect names the place that was given, its query too."""
    with (
        asking(stocked([])) as (elsewhere, _),
        asking(stocked(ROWS), faults=[Fault.parse(f"1:{kind}:{elsewhere.base_url}{LIST}?limit=3")]) as (_, client),
    ):
        answer = client.get(LIST)
        assert answer.status_code == int(kind)
        assert answer.headers["location"] == f"{elsewhere.base_url}{LIST}?limit=3"
        assert elsewhere.requests == []
        assert httpx.get(answer.headers["location"], trust_env=False).json()["data"] == []


def test_page_repeated_once():
    """One stuck request repeats one page, and the walk goes on behind it."""
    with asking(stocked(ROWS), faults=[Fault.parse("2:stuck")]) as (_, client):
        pages = walk(client, limit=10, order="asc")
    assert [ids(page) for page in pages] == [
        [f"r{number}" for number in range(start, start + 10)] for start in (0, 0, 10, 20)
    ]


def test_faults_of_body_and_wire_join():
    """One fault of the body and one of the wire act on the same answer."""
    with asking(stocked(ROWS), faults=[Fault("html"), Fault("close")]) as (_, client):
        answer = client.get(LIST)
    assert answer.text.startswith("<!doctype html>")
    assert answer.headers["connection"] == "close"


def test_stuck():
    """A stuck list shows the page before once more, whatever ``after`` says."""
    with asking(stocked(ROWS), faults=[Fault("stuck", at=2, times=0)]) as (_, client):
        first = client.get(LIST, params={"limit": 5}).json()
        again = [client.get(LIST, params={"limit": 5, "after": first["last_id"]}).json() for _ in range(3)]
    assert again == [first] * 3
    assert first["has_more"]


@pytest.mark.parametrize("kind", ANCHORS)
def test_vanished_anchor(kind):
    """For the request named, ``after`` names nothing: 404, 400, an empty page, or page 1; before it all is well."""
    with asking(stocked(ROWS), faults=[Fault(kind, times=2)]) as (_, client):
        first = client.get(LIST, params={"limit": 5})
        answer = client.get(LIST, params={"limit": 5, "after": "r20"})
    assert ids(first.json()) == ["r29", "r28", "r27", "r26", "r25"]
    if kind in {"anchor-404", "anchor-400"}:
        assert answer.status_code == int(kind[-3:])
    else:
        assert ids(answer.json()) == (ids(first.json()) if kind == "anchor-page1" else [])


@pytest.mark.parametrize(
    ("kind", "params", "data", "more"),
    [
        ("more", {"after": "r5"}, 5, True),
        ("more", {"after": "r0"}, 0, True),
        ("no-more", {}, 20, False),
        ("empty-more", {}, 0, True),
        ("empty-more-blank", {}, 0, True),
    ],
)
def test_lies_about_has_more(kind, params, data, more):
    """``has_more`` says what the fault wants, on last, full and empty pages."""
    with asking(stocked(ROWS), faults=[Fault(kind)]) as (_, client):
        page = client.get(LIST, params=params).json()
    assert (len(page["data"]), page["has_more"]) == (data, more)
    if not data:
        assert page["last_id"] == ("" if kind == "empty-more-blank" else None)


def test_wrong_order():
    """The order is the opposite of what was asked."""
    with asking(stocked([1, 2, 3]), faults=[Fault("wrong-order")]) as (_, client):
        assert ids(client.get(LIST, params={"order": "asc"}).json()) == ["r2", "r1", "r0"]


def test_wrong_order_without_order():
    """A request that names no order gets the opposite of the server's default."""
    with asking(stocked([1, 2, 3]), faults=[Fault("wrong-order")]) as (_, client):
        assert ids(client.get(LIST).json()) == ["r0", "r1", "r2"]


def test_filter_ignored():
    """Filters change nothing."""
    with asking(stocked([1, 2, 3]), faults=[Fault("filter-ignored")]) as (_, client):
        assert len(ids(client.get(LIST, params={"model": "x", "metadata[n]": "1"}).json())) == 3


def test_other_project():
    """From the request named on, answers are for another project."""
    with asking(stocked(ROWS), faults=[Fault.parse("2-:other-project")]) as (_, client):
        projects = [client.get(LIST).headers["openai-project"] for _ in range(3)]
    assert projects[0] != projects[1] == projects[2]


def test_delete_and_edit_during_the_walk():
    """The row named, or the anchor itself, is changed just before the answer."""
    faults = [Fault.parse("2:delete:r7"), Fault.parse("3:delete:after"), Fault.parse("4:edit:r9")]
    with asking(stocked(range(10)), faults=faults) as (server, client):
        assert "r7" in ids(client.get(LIST).json())
        assert "r7" not in ids(client.get(LIST).json())
        assert client.get(LIST, params={"after": "r5"}).status_code == 404
        page = client.get(LIST).json()
    assert page["data"][0]["metadata"] == {"edited": "before list request 4"}
    assert server.store.visible_ids() == {f"r{number}" for number in (0, 1, 2, 3, 4, 6, 8, 9)}


@pytest.mark.parametrize("kind", ["delete", "edit"])
def test_some_row_is_changed(kind):
    """Without a name some visible row is changed, none where nothing is visible, the same ones for the same seed."""
    left = []
    for _ in range(2):
        with asking(stocked([1, 2], seed=3), faults=[Fault(kind, times=3)]) as (server, client):
            assert [client.get(LIST).status_code for _ in range(3)] == [200] * 3
            left.append(server.store.bodies())
    assert left[0] == left[1] != stocked([1, 2]).bodies()


def test_on_request_sees_each_request_before_its_answer():
    """The callback may change the store just before a request is answered."""
    store = stocked([1, 2, 3])

    def remove(received):
        if received.list_number == 2:
            store.delete(received.query["after"])

    with asking(store, on_request=remove) as (_, client):
        assert client.get(LIST, params={"after": "r2"}).status_code == 200
        assert client.get(LIST, params={"after": "r2"}).status_code == 404


def test_only_list_requests_count():
    """Other requests are neither counted nor disturbed."""
    with asking(stocked([1]), faults=[Fault("500", times=0)]) as (server, client):
        assert client.get(f"{LIST}/r0").status_code == 200
        assert client.get(LIST).status_code == 500
    assert [request.list_number for request in server.requests] == [None, 1]


def test_seeded_rate():
    """A rate hits about its share of the requests, the same ones for the same seed."""
    fault = Fault.parse("25%:503")
    hits = [{number for number in range(1, 2001) if fault.acts_on(number, seed)} for seed in (1, 1, 2)]
    assert hits[0] == hits[1] != hits[2]
    assert 400 < len(hits[0]) < 600


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("3:503", Fault("503", at=3)),
        ("3-5:reset", Fault("reset", at=3, times=3)),
        ("4-:stuck", Fault("stuck", at=4, times=0)),
        ("2:429:retry-after=1", Fault("429", at=2, header="retry-after", value="1")),
        ("2:delete:chatcmpl-a", Fault("delete", at=2, value="chatcmpl-a")),
        ("0.5%:cut", Fault("cut", times=0, rate=0.005)),
        ("1:302:http://a/b?c=d", Fault("302", value="http://a/b?c=d")),
        ("1:big:5", Fault("big", value="5")),
        ("1:edit:a=b", Fault("edit", value="a=b")),
    ],
)
def test_parse(text, fault):
    """A fault can be written as text."""
    assert Fault.parse(text) == fault


@pytest.mark.parametrize("text", ["", "503", "x:503", "0:503", "5-3:503", "3:", "3:nonsense", "%:503", "3:503:"])
def test_parse_refuses(text):
    """What cannot be read is refused in one error that names the known kinds."""
    with pytest.raises(UsageError) as refused:
        Fault.parse(text)
    assert all(kind in str(refused.value) for kind in KINDS)


@pytest.mark.parametrize("text", ["1:302", "1:big:much", "1:bomb:-1", "1:drip:1.5"])
def test_parse_refuses_a_value(text):
    """A value that the kind cannot use is refused with an example."""
    with pytest.raises(UsageError) as refused:
        Fault.parse(text)
    assert f"write {text.rsplit(':', 1)[0] if text.count(':') > 1 else text}:" in str(refused.value)
