"""The sandbox on a real socket, in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Self

import uvicorn

from pipeline.sandbox.app import App, Received
from pipeline.sandbox.wire import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.sandbox.billing import Billing
    from pipeline.sandbox.faults import Fault
    from pipeline.sandbox.house import Identity
    from pipeline.sandbox.store import Store

_BACKLOG = 128
#: Longer than any test waits: a connection closes when a fault says so, not because a slow machine let it idle.
_KEEP_ALIVE_SECONDS = 600


class Server:
    """Serves a store while the block runs: ``with Server(store) as server: ... server.base_url``.

    ``tls`` names the files of a certificate and its key.
    """

    def __init__(  # noqa: PLR0913 - the switches of a test double, all keywords
        self,
        store: Store,
        *,
        faults: Sequence[Fault] = (),
        key: str | None = None,
        admin_key: str | None = None,
        identity: Identity | None = None,
        on_request: Callable[[Received], None] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[str, str] | None = None,
    ) -> None:
        self.store = store
        self.app = App(store, faults=faults, key=key, admin_key=admin_key, identity=identity, on_request=on_request)
        self._scheme = "https" if tls else "http"
        self._address = (host, port)
        self._listener = _Listener(self.app, tls)
        self._thread = threading.Thread(target=self._listener.run, name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        """Listen; a client may connect as soon as this returns."""
        # asyncio turns Nagle's algorithm off only where the protocol is named: else 40 ms are lost per answer.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(self._address)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        self._address = listening.getsockname()
        self._listener.sockets = [listening]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once; requests in hand, stalled ones too, lose their connection."""
        self._listener.stop()
        self._thread.join()

    @property
    def base_url(self) -> str:
        """What a client takes as base URL."""
        shape = self.store.shape
        query = f"?api-version={shape.api_version}" if shape.api_version else ""
        return f"{self._scheme}://{self._address[0]}:{self._address[1]}{shape.root}{query}"

    @property
    def billing(self) -> Billing:
        """What the organization used and was billed beyond what is stored; to be changed by tests."""
        return self.app.organization.billing

    @property
    def requests(self) -> list[Received]:
        """Everything asked so far, in order of arrival."""
        return list(self.app.log.requests)

    @property
    def most_in_flight(self) -> int:
        """How many requests were in hand at the same time, at most."""
        return self.app.log.most_in_flight


class _Listener(uvicorn.Server):
    """uvicorn that stops when told from another thread, without waiting for anybody."""

    def __init__(self, app: App, tls: tuple[str, str] | None) -> None:
        certificate, key = tls or (None, None)
        # The date is the store's, not the machine's; the app logs for itself and never content.
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            date_header=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="critical",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        config.load()  # here, where a certificate that cannot be read raises to who named it
        super().__init__(config)
        self.sockets: list[socket.socket] = []
        self._ready = threading.Event()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until ``stop``."""
        asyncio.run(self.serve(sockets or self.sockets))

    def stop(self) -> None:
        """End ``run``, from any thread."""
        self._ready.wait()
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        """Wait for ``stop`` rather than looking every tenth of a second."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection now: a stalled one would never close by itself."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for listening in sockets or []:
            listening.close()


def serve(server: Server, announce: Callable[[Server], None]) -> None:
    """Serve until Ctrl-C or another exception ends the main thread's wait; ``announce`` hears the address."""
    with server:
        announce(server)
        threading.Event().wait()
