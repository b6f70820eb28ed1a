"""Write corking: bytes written within one turn of the event loop leave together.

That is a whole HTTP response, or many messages to one WebSocket.

Reason: uvicorn writes a response's head and body apart, and each message of a WebSocket, and uvloop hands each to the
system at once: two calls, two packets, and a client that wakes up twice.
Gain: a read 8 µs of CPU in the gateway, 11 in the client; on two cores 25 % more reads a second. Notices that come
many at a time, to a thousand sockets: 65,000 → 155,000 a second.
The plain path: uvicorn's own `HttpToolsProtocol`, which this changes in nothing but the moment at which bytes leave.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HELD = 64 * 1024
"""Bytes that are held back; more leave at once, so that the transport's own limits hold."""


class CorkedHttpProtocol(HttpToolsProtocol):
    """The protocol that uvicorn gets as its `http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CorkedTransport(transport, self.loop))  # type: ignore[arg-type]

    def handle_websocket_upgrade(self) -> None:
        if isinstance(self.transport, CorkedTransport):
            self.transport = CorkedMessages(self.transport.plain(), self.loop)  # type: ignore[assignment]
        super().handle_websocket_upgrade()


class CorkedTransport:
    """A transport that holds bytes back until the turn of the loop ends. All else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._hold(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def plain(self) -> asyncio.Transport:
        """The transport, with nothing held back."""
        self._flush()
        return self._transport

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
            self._size = 0


class CorkedMessages(CorkedTransport):
    """The same for whole messages: the first of a turn leaves at once, the others together at its end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transport, loop)
        self._holding = False

    def write(self, data: bytes) -> None:
        if self._holding:
            self._hold(data)
        else:
            self._holding = True
            self._loop.call_soon(self._end_turn)
            self._transport.write(data)

    def _end_turn(self) -> None:
        # In one step, or bytes written in between would overtake those that are held.
        self._holding = False
        self._flush()
