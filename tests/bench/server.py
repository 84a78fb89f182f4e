"""A server that costs next to nothing: ``python -m tests.bench.server COUNT [--small] [--nights N]``, from memory.

It speaks the list, one completion and its messages, with the recorded service's cursor (``after`` means beyond that
row's second). A thread per connection hands the bodies to the kernel as they lie in memory.

    /set?delay=0.05     seconds to wait before each answer
    /set?visible=1000   how many completions, the oldest, are listed
    /spent              what it spent itself, and when it was first asked since the last /set, as JSON
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from tests.bench.corpus import Corpus, place_of
from tests.bench.small import NOW

if TYPE_CHECKING:
    #: What answers, in parts.
    Body = list[bytes | memoryview]

LIST = "/v1/chat/completions"
_MESSAGES = b'{"object":"list","data":[{"id":"m-0","role":"user","content":"What is it?"}],"has_more":false}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nContent-Length: %d\r\n\r\n"


class Place:
    """What is served, and how."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.visible = len(corpus)
        self.delay = 0.0
        self.requests = 0
        self.first: float | None = None

    @property
    def date(self) -> bytes:
        """The server's time: a minute after the newest completion listed, so that nights pass."""
        newest = self.corpus.seconds[self.visible - 1] if self.visible else NOW
        return _date(newest + 60)

    def answer(self, target: str) -> Body:
        """Return the body that answers."""
        path, _, asked = target.partition("?")
        query = dict(pair.split("=", 1) for pair in asked.split("&")) if asked else {}  # nothing here needs escaping
        if path == "/spent":
            told = {"cpu": time.process_time(), "requests": self.requests, "first": self.first}
            return [json.dumps(told).encode()]
        if path == "/set":
            self.delay = float(query.get("delay", self.delay))
            self.visible = int(query.get("visible", self.visible))
            self.first = None
            return [b"{}"]
        self.requests += 1
        self.first = self.first or time.monotonic()
        if path == LIST:
            return self._page(query)
        if path.endswith("/messages"):
            return [_MESSAGES]
        return [self.corpus.row(place_of(path.rpartition("/")[2]))]

    def _page(self, query: dict[str, str]) -> Body:
        """Return a page; only one in falling order is put together row by row."""
        limit, after = int(query.get("limit", "20")), query.get("after")
        if query.get("order") == "desc":
            last = min(self.corpus.before(after), self.visible) if after else self.visible
            first = max(0, last - limit)
            rows = b",".join(self.corpus.row(place) for place in range(last - 1, first - 1, -1))
            return [_OPEN, rows, self._tail(last - 1, first, is_empty=first >= last, has_more=first > 0)]
        first = min(self.corpus.beyond(after), self.visible) if after else 0
        last = min(first + limit, self.visible)
        tail = self._tail(first, last - 1, is_empty=first >= last, has_more=last < self.visible)
        return [_OPEN, self.corpus.rows(first, last) if first < last else b"", tail]

    def _tail(self, first: int, last: int, *, is_empty: bool, has_more: bool) -> bytes:
        ends = [b"null" if is_empty else b'"%b"' % self.corpus.id(place) for place in (first, last)]
        return b'],"first_id":%b,"last_id":%b,"has_more":%b}' % (*ends, b"true" if has_more else b"false")


_OPEN = b'{"object":"list","data":['


@lru_cache(maxsize=8)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def converse(connection: socket.socket, place: Place) -> None:
    """Answer one connection's requests until it is closed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with connection:
        while got := connection.recv(65_536):
            received += got
            if not received.endswith(b"\r\n\r\n"):
                continue
            target, received = received.split(b" ", 2)[1].decode(), b""
            if place.delay and target.startswith("/v1"):
                time.sleep(place.delay)
            try:
                send(connection, place, place.answer(target))
            except (BrokenPipeError, ConnectionResetError):
                return  # whoever asked is gone


def send(connection: socket.socket, place: Place, body: Body) -> None:
    """Hand one answer to the kernel, mostly at once."""
    parts = [_HEAD % (place.date, sum(map(len, body))), *body]
    sent = connection.sendmsg(parts)
    for part in parts:
        if sent < len(part):
            connection.sendall(memoryview(part)[sent:])
        sent = max(0, sent - len(part))


def accept(listener: socket.socket, place: Place) -> None:
    """Give every connection a thread."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection, place), daemon=True).start()


def serve(place: Place) -> None:
    """Serve until standard input ends; the first line of output is the address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threading.Thread(target=accept, args=(listener, place), daemon=True).start()
    host, port = listener.getsockname()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--nights", type=int, default=0)
    asked = parser.parse_args()
    serve(Place(Corpus(asked.count, small=asked.small, nights=asked.nights)))
