"""The last step of an answer: its bytes onto the socket, whole or broken on purpose."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, MutableMapping

    from pipeline.sandbox.answer import Answer

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]

#: Closing with this option sends RST instead of FIN.
_LINGER_NOT = struct.pack("ii", 1, 0)


class Protocol(H11Protocol):
    """uvicorn's protocol, which also hands the app its transport: only there can a connection be reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where uvicorn copies it into the scope of each request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def deliver(answer: Answer, kind: str, transport: asyncio.Transport, receive: Receive, send: Send) -> None:
    """Send the answer; ``stall``, ``reset`` and ``cut`` stop halfway through the body, each in its own way."""
    await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
    if kind not in {"stall", "reset", "cut"}:
        await send({"type": "http.response.body", "body": answer.body})
        return
    await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    if kind == "stall":
        while (await receive())["type"] != "http.disconnect":
            pass
    if kind == "reset":
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort() if kind == "reset" else transport.close()


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return the headers with the length that was promised, whatever will be sent of it."""
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
