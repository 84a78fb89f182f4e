"""The door of httpx: what is sent, and what of an answer becomes a page, a refusal or an error of ours."""

import json
import time
from urllib.parse import parse_qsl

import httpx
import pytest

from pipeline.errors import ConfigError, NoListRouteError, PipelineError, RefusedError, ServerError
from pipeline.extract.client import Client, Endpoint
from pipeline.extract.page import Filters
from pipeline.extract.retry import Policy
from pipeline.extract.told import LONGEST_MESSAGE, MONEY
from pipeline.extract.transport import Address
from pipeline.extract.walk import Refusal, Request
from pipeline.handoff import Account
from pipeline.secret import Secret

from .scripted import Said, Scripted

KEY = "sk-this-is-the-key"
FIRST, NEXT = Request(None, 100), Request("id-1", 100)


def asked(server, request=FIRST, **more):
    """Ask a server once."""
    account = more.pop("account", None)
    endpoint = Endpoint("prod", Address(server.base_url), policy=Policy(attempts=1), **more)
    with Client(endpoint, Secret(KEY), account=account) as client:
        return client.list(request)


def refused(status, body=b"", request=FIRST, **headers):
    """Return what an answer is raised as."""
    with Scripted(Said(status, body, headers)) as server, pytest.raises(PipelineError) as raised:
        asked(server, request)
    return raised.value


def error(message="no", **fields):
    """Write the API's error body."""
    return json.dumps({"error": {"message": message, **fields}}).encode()


# -- what is sent --------------------------------------------------------------------------------------------------


def test_a_request_says_all_it_wants():
    """Order and limit always, the filters in their bracket form, and who asks on whose behalf."""
    filters = Filters("gpt-4o", {"team": "search & ads"})
    with Scripted(Said()) as server:
        asked(server, NEXT, organization="org-1", project="proj_1", filters=filters)
    ((url, headers),) = server.asked
    path, _, query = url.partition("?")
    assert path == "/v1/chat/completions"
    assert dict(parse_qsl(query)) == {
        "order": "asc",
        "limit": "100",
        "after": "id-1",
        "model": "gpt-4o",
        "metadata[team]": "search & ads",
    }
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj_1"
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("pipeline/")


def test_what_is_not_set_is_not_sent():
    """No organization, no project, no after, no filter."""
    with Scripted(Said()) as server:
        asked(server)
    ((url, headers),) = server.asked
    assert dict(parse_qsl(url.partition("?")[2])) == {"order": "asc", "limit": "100"}
    assert not {"openai-organization", "openai-project"} & set(headers)


# -- a page --------------------------------------------------------------------------------------------------------


def test_the_server_time_is_the_servers():
    """The Date of the answer counts; our clock does where there is none that can be read."""
    with Scripted(Said(headers={"date": "Tue, 16 Sep 2025 05:20:00 GMT"})) as server:
        assert asked(server).server_time == 1_758_000_000
    for headers in ({}, {"date": "yesterday"}):
        with Scripted(Said(headers=headers)) as server:
            before = int(time.time())
            assert before <= asked(server).server_time <= time.time()


def test_the_account_is_remembered_and_kept_to():
    """An answer for another organization or project is refused; one that says nothing is not."""
    told = {"openai-organization": "org-1", "openai-project": "proj_1"}
    for other in ("openai-organization", "openai-project"):
        with Scripted(Said(headers={**told, other: "another"})) as server, pytest.raises(RefusedError, match="another"):
            asked(server, account=Account("org-1", "proj_1"))
    with Scripted(Said(headers=told), Said()) as server:
        endpoint = Endpoint("prod", Address(server.base_url))
        with Client(endpoint, Secret(KEY)) as client:
            client.list(FIRST)
            client.list(FIRST)
            assert client.account == Account("org-1", "proj_1")
            assert (client.tally.pages, client.tally.retries) == (2, 0)


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(MONEY))
@pytest.mark.parametrize("field", ["code", "type"])
def test_a_429_about_money_is_not_retried(code, field):
    """Waiting does not help: 77 with the server's words."""
    raised = refused(429, error("pay", **{field: code}))
    assert isinstance(raised, RefusedError)
    assert "pay" in raised.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, RefusedError),
        (403, RefusedError),
        (404, NoListRouteError),
        (405, NoListRouteError),
        (501, NoListRouteError),
        (204, ConfigError),
        (302, ConfigError),
        (418, ConfigError),
        (429, ServerError),
        (500, ServerError),
    ],
)
def test_a_status_becomes_an_error_that_says_what_to_do(status, kind):
    """Source, place, status, the server's words and its own id of the request; and a hint."""
    raised = refused(status, b"" if status == 204 else error("the words"), **{"x-request-id": "req_5"})
    assert type(raised) is kind
    assert "source prod" in raised.message
    assert "/v1/chat/completions" in raised.message
    assert "request req_5" in raised.message
    assert status == 204 or "the words" in raised.message or kind is NoListRouteError
    assert raised.hint


@pytest.mark.parametrize("status", [400, 404, 405, 422, 501])
def test_an_anchor_that_is_not_taken_is_no_error(status):
    """With ``after`` these statuses speak of the anchor: the walk decides."""
    with Scripted(Said(status, error("unknown"))) as server:
        assert asked(server, NEXT) == Refusal(status, "unknown")


def test_a_redirect_is_not_followed():
    """The key goes nowhere else; the message says where it would have gone."""
    with Scripted(Said()) as elsewhere:
        raised = refused(302, b"", location=f"{elsewhere.base_url}/chat/completions")
        assert elsewhere.asked == []
    assert "302 to 127.0.0.1" in raised.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error":"text"}',
        b'{"error":null}',
        b'{"error":{"message":5}}',
        b'{"error":{"message":"\xff"}}',
        b'{"error":' + b"[" * 5000,
    ],
)
def test_an_error_body_that_says_nothing_readable(body):
    """The status alone is enough."""
    assert "403" in refused(403, body).message


def test_a_code_that_is_a_number():
    """Some servers repeat the status there: the message is read all the same."""
    assert "the words" in refused(403, error("the words", code=403)).message


def test_the_words_of_a_server_are_one_short_line_without_the_key():
    """Whatever it repeats: not the key, no control characters, no page of text."""
    raised = refused(403, error(f"key {KEY}\n\x1b[2J" + "x" * 10_000))
    assert "key ***  [2Jxxx" in raised.message
    assert len(raised.message) < LONGEST_MESSAGE + 300
    assert KEY[:5] not in str(refused(403, error("x" * (LONGEST_MESSAGE - 10) + KEY)))


def test_every_error_of_httpx_has_a_translation():
    """What httpx may raise while one page is asked for is caught by name: a new one must be given a place."""
    known = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
    kinds = [one for one in vars(httpx).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert [one for one in kinds if not issubclass(one, known)] == []
