"""A small HTTP server of the tests that takes what is posted to it: pings, and spans."""

import asyncio
from contextlib import closing, suppress
from typing import NamedTuple

from tests.listening import Listening


class Post(NamedTuple):
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Posted(Listening):
    """Runs while the block does; answers with ``answer``, or, where that is None, never."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"):
        super().__init__()
        self.answer = answer
        self.posts = []
        self.on_post = lambda _: None

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self):
        """What was asked for, without its query, in order."""
        return [post.line.split()[1].partition("?")[0] for post in self.posts]

    async def _serve(self, reader, writer):
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.posts.append(Post(head[0], headers, body))
                self.on_post(self.posts[-1])
                if self.answer is None:
                    await asyncio.sleep(60)
                writer.write(self.answer)
                await writer.drain()
