"""A server that means harm: it cannot hold a run up, be told more than it should, or have it remember anything."""

from __future__ import annotations

import itertools
import json
import time
from functools import partial

import pytest

import pipeline
from pipeline.config import Config, Source
from tests.e2e.place import BARE, NOW, completion

from .raw import RawServer

_EMPTY = b'{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}'


@pytest.fixture
def export(tmp_path):
    """Return how to export from a server, impatiently."""
    (tmp_path / "key").write_text("sk-of-the-tests", encoding="utf-8")

    def run(server, **settings):
        told = {"retry_attempts": 1, "timeout": 20.0, "page_time": 0.3, **settings}
        source = Source("prod", base_url=server.base_url, api_key=f"file:{tmp_path / 'key'}", **told)
        return pipeline.run(Config(data=tmp_path / "data", sources=(source,), **BARE))

    return run


def whole(body, *headers):
    head = b"".join(b"%b\r\n" % header for header in (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers))
    return [head + b"\r\n" + body]


def slowly(pieces):
    for piece in pieces:
        yield piece
        time.sleep(0.01)


def headers_that_drip():
    yield b"HTTP/1.1 200 OK\r\n"
    yield from slowly(b"X-%d: y\r\n" % number for number in range(3_000))


ENDLESS = {
    "headers that drip": lambda _: headers_that_drip(),
    "a status line that drips": lambda _: slowly(itertools.chain([b"HTTP/1.1 200 O"], itertools.repeat(b"K", 3_000))),
    "interim answers without an end": lambda _: slowly(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 3_000)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_no_head_without_an_end_holds_a_run_up(export, kind):
    """page_time bounds the head of an answer as it bounds its body: 75 names it."""
    with RawServer(ENDLESS[kind]) as server:
        result = export(server)
    assert result.exit_code == 75
    assert "page_time" in result.sources[0].why_not


def test_ten_thousand_headers(export):
    """More than an answer needs is no answer: 75, and nothing is read of it."""
    many = [b"X-%d: %b" % (number, b"y" * 100) for number in range(10_000)]
    with RawServer(lambda _: whole(_EMPTY, *many)) as server:
        result = export(server, page_time=20.0)
    assert (result.exit_code, len(server.heard)) == (75, 1)


def test_no_cookie_is_taken(export):
    """Whatever a server asks to be remembered is not sent back to it."""
    page = json.dumps({"object": "list", "data": [completion("a", NOW)], "has_more": False}).encode()
    with RawServer(partial(lambda body, _: whole(body, b"Set-Cookie: id=1; Path=/"), page)) as server:
        export(server, page_time=20.0)
    assert len(server.heard) > 1
    assert not [head for head in server.heard if b"cookie" in head.lower()]
