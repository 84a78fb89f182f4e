"""A forward proxy for tests: tunnels on CONNECT, passes other requests on, and counts both."""

import asyncio
from contextlib import closing, suppress
from urllib.parse import urlsplit

from tests.listening import Listening


class Proxy(Listening):
    """Runs while the block does: ``with Proxy() as proxy: ... proxy.url, proxy.tunnels, proxy.passed``."""

    def __init__(self):
        super().__init__()
        self.tunnels = []
        """Where a client asked to be connected to, as ``host:port``."""
        self.passed = []
        """The URLs that were asked for in the open."""

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b" ", 2)
                if method == b"CONNECT":
                    await self._tunnel(target.decode(), reader, writer)
                    return
                await self._pass(method, target.decode(), head, writer)

    async def _tunnel(self, place, reader, writer):
        self.tunnels.append(place)
        host, _, port = place.rpartition(":")
        there, to = await asyncio.open_connection(host, int(port))
        with closing(to):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, to), _pipe(there, writer))

    async def _pass(self, method, target, head, writer):
        """Ask for one answer on a connection of its own; the requests of these tests have no body."""
        self.passed.append(target)
        url = urlsplit(target)
        path = (url._replace(scheme="", netloc="").geturl() or "/").encode()
        there, to = await asyncio.open_connection(url.hostname, url.port)
        with closing(to):
            headers = head.partition(b"\r\n")[2]
            to.write(b"%b %b HTTP/1.1\r\nconnection: close\r\n%b" % (method, path, headers))
            writer.write(await there.read())
            await writer.drain()


async def _pipe(reader, writer):
    """Copy until one side ends, and tell the other."""
    with suppress(ConnectionError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.close()
