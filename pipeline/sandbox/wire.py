"""The last step of an answer: its bytes onto the socket, whole or broken on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.sandbox.bulk import padded, padded_size
from pipeline.sandbox.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pipeline.sandbox.answer import Answer

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]

#: Closing with this option sends RST instead of FIN.
_LINGER_NOT = struct.pack("ii", 1, 0)
_DRIP_SECONDS = 0.05


class Protocol(H11Protocol):
    """uvicorn's protocol, which also hands the app its transport: only there can a connection be reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where uvicorn copies it into the scope of each request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def deliver(
    answer: Answer, fault: Fault | None, transport: asyncio.Transport, receive: Receive, send: Send
) -> None:
    """Send the answer, broken as the fault says; without one, as it is."""
    match fault:
        case Fault(kind="hang-up"):
            transport.close()
            await _gone(receive)
        case Fault(kind="stall" | "reset" | "cut" as kind):
            await _half(answer, kind, transport, receive, send)
        case Fault(kind="drip"):
            await _drip(answer, fault.number, receive, send)
        case Fault(kind="big"):
            await _big(answer, fault.number, send)
        case Fault(kind="close"):
            await _whole(answer, send, connection="close")
        case Fault(kind="drop"):
            await _whole(answer, send)
            transport.close()
        case _:
            await _whole(answer, send)


async def _whole(answer: Answer, send: Send, **headers: str) -> None:
    await _start(answer, send, content_length=str(len(answer.body)), **headers)
    await send({"type": "http.response.body", "body": answer.body})


async def _half(answer: Answer, kind: str, transport: asyncio.Transport, receive: Receive, send: Send) -> None:
    """Stop halfway through the body: wait for ever, reset the connection, or close it as if all were said."""
    await _start(answer, send, content_length=str(len(answer.body)))
    await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    if kind == "stall":
        await _gone(receive)
    if kind == "reset":
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort() if kind == "reset" else transport.close()


async def _drip(answer: Answer, times: int, receive: Receive, send: Send) -> None:
    """Send a blank now and then, which JSON allows, until the client has gone or the drips are counted."""
    await _start(answer, send)
    for _ in range(times) if times else itertools.count():
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_gone(receive), _DRIP_SECONDS)
            return
    await send({"type": "http.response.body", "body": answer.body})


async def _big(answer: Answer, megabytes: int, send: Send) -> None:
    """Send the page with a huge row, made as it goes."""
    await _start(answer, send, content_length=str(padded_size(answer.body, megabytes)))
    for piece in padded(answer.body, megabytes):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(answer: Answer, send: Send, **headers: str) -> None:
    """Send the status and the headers, those of the connection too; without a length the body comes in chunks."""
    told = {name: value for name, value in answer.headers.items() if name != "content-length"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
