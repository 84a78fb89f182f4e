"""A bad line between the program and a server: a TCP proxy that delays, falls silent and resets as it is told."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.listening import Listening

if TYPE_CHECKING:
    from collections.abc import Callable

#: Closing with this option sends RST instead of FIN.
_LINGER_NOT = struct.pack("ii", 1, 0)
_PIECE = 65_536


@dataclass
class Weather:
    """What the line does; to be changed at any time."""

    latency: float = 0.0
    """Seconds that every piece waits."""
    jitter: float = 0.0
    """Seconds more, at most, by a seeded coin."""
    piece: int = _PIECE
    """Most bytes of an answer handed on at a time."""
    reset_at: int | None = None
    """The connection is reset, once, when so many bytes of answers have come through the line."""
    silent_at: int | None = None
    """From so many bytes of answers on nothing comes through, and nothing is closed."""
    is_up: Callable[[], bool] = lambda: True
    """Whether the server can be reached: asked for every request; where not, its connection is reset."""


class Line(Listening):
    """Lies before a server while the block runs; ``base_url`` is that of the server, through the line."""

    def __init__(self, base_url: str, weather: Weather | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.weather = weather or Weather()
        self.requests = 0
        """Requests that came so far, answered or not."""
        self.sent = 0
        """Bytes of answers handed on so far."""
        self._scheme, _, rest = base_url.partition("://")
        self._place, _, self._path = rest.partition("/")
        self._coin = random.Random(seed)

    @property
    def base_url(self) -> str:
        """The server's, through the line."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{self._path}"

    async def _serve(self, reader, writer):
        """Join a client and the server, until one of them or the weather ends it."""
        host, _, port = self._place.rpartition(":")
        with closing(writer), suppress(OSError, asyncio.CancelledError):
            back, there = await asyncio.open_connection(host, int(port))
            with closing(there):
                await _first_of(self._ask(reader, there, writer), self._answer(back, writer))

    async def _ask(self, reader, there, writer):
        """Hand on requests: each comes in one piece, for none of them has a body."""
        with suppress(ConnectionError):
            while request := await reader.read(_PIECE):
                self.requests += 1
                if not self.weather.is_up():
                    _reset(writer)
                    return
                await self._wait()
                there.write(request)

    async def _answer(self, back, writer):
        """Hand on answers, as far as the weather lets them through."""
        with suppress(ConnectionError):
            while some := await back.read(self.weather.piece):
                await self._wait()
                whole = len(some)
                some = some[: self._until(self.weather.silent_at)]
                some = some[: self._until(self.weather.reset_at)]
                self.sent += len(some)
                writer.write(some)
                await writer.drain()
                if self.weather.reset_at is not None and self.sent >= self.weather.reset_at:
                    self.weather.reset_at = None
                    _reset(writer)
                    return
                if len(some) < whole:
                    await asyncio.Event().wait()

    def _until(self, end):
        """Say how many bytes may still pass; None is no bound."""
        return None if end is None else max(0, end - self.sent)

    async def _wait(self):
        if self.weather.latency or self.weather.jitter:
            await asyncio.sleep(self.weather.latency + self.weather.jitter * self._coin.random())


async def _first_of(*ways):
    """Go several ways until the first of them ends."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
