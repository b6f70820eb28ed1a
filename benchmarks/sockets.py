"""Many WebSocket clients in one process, that do as little as a client can: ten thousand must cost next to nothing."""

import asyncio
import base64
import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from benchmarks.wrk import LoadFailed

_QUERY = """subscription($after: String) {
  contactChanged(afterPosition: $after) { position kind commandId committedAt contact { id name } } }"""
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
# Sockets that are opened at the same time.
_AT_ONCE = 100

OnNotice = Callable[[bytes, float], None]


class Socket(asyncio.Protocol):
    """One client of graphql-transport-ws.

    on_notice: gets each message with a notice, and the time of day it came at; None: notices are only counted.
    after: subscribes to what comes after this position as soon as it may; None: `subscribe` is left to the caller.
    """

    def __init__(self, on_notice: OnNotice | None = None, after: str | None = None) -> None:
        self.notices = 0
        # Times of day.
        self.first_at = self.last_at = 0.0
        self.acknowledged = asyncio.get_running_loop().create_future()
        self._on_notice = on_notice
        self._after = after
        self._rest = b""
        self._open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        host = ":".join(map(str, transport.get_extra_info("peername")[:2]))
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        if not self._open and not self._shake_hands():
            return
        rest, at, now = self._rest, 0, time.time()
        while len(rest) - at >= 2:
            kind, length, start = rest[at] & 15, rest[at + 1], at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                start += size
                length = int.from_bytes(rest[at + 2 : start], "big")
            if len(rest) < start + length:
                break
            at = start + length
            self._take(kind, rest[start:at], now)
        self._rest = rest[at:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_exception(LoadFailed(f"a socket was refused: {error or self._rest[:200]!r}"))

    def subscribe(self, after: str | None = None) -> None:
        """Asks for every notice after a position, by default from now on."""
        payload = {"query": _QUERY, "variables": {"after": after}}
        self._send(_TEXT, orjson.dumps({"id": "1", "type": "subscribe", "payload": payload}))

    def count_only(self) -> None:
        """Reads no notice from now on, and counts afresh."""
        self._on_notice = None
        self.notices = 0

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _shake_hands(self) -> bool:
        head, separator, rest = self._rest.partition(b"\r\n\r\n")
        if not separator:
            return False
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            self.close()
            return False
        self._open, self._rest = True, rest
        self._send(_TEXT, b'{"type":"connection_init"}')
        return True

    def _take(self, kind: int, payload: bytes, now: float) -> None:
        if kind == _PING:
            self._send(_PONG, payload)
        elif kind == _TEXT and b'"type":"next"' in payload:
            self.first_at = self.first_at if self.notices else now
            self.last_at = now
            self.notices += 1
            if self._on_notice is not None:
                self._on_notice(payload, now)
        elif kind == _TEXT and b'"connection_ack"' in payload:
            self.acknowledged.set_result(None)
            if self._after is not None:
                self.subscribe(self._after)
        elif kind == _TEXT and b'"ping"' in payload:
            self._send(_TEXT, b'{"type":"pong"}')

    def _send(self, kind: int, payload: bytes) -> None:
        assert self._transport is not None
        # Masked with zeros, which leaves the payload as it is.
        size = bytes([128 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self._transport.write(bytes([128 | kind]) + size + b"\0\0\0\0" + payload)


async def open_sockets(
    addresses: Sequence[str], count: int, *, on_notice: OnNotice | None = None, after: str | None = None
) -> list[Socket]:
    """So many sockets, spread over the addresses, that have introduced themselves; the rest as in Socket.

    With `after` all of them come at once, as after an outage; else some at a time.
    """
    loop = asyncio.get_running_loop()
    sockets: list[Socket] = []
    while len(sockets) < count:
        part = range(len(sockets), min(len(sockets) + (_AT_ONCE if after is None else count), count))
        hosts = [addresses[number % len(addresses)].rpartition(":") for number in part]
        made = await asyncio.gather(
            *(loop.create_connection(lambda: Socket(on_notice, after), host, int(port)) for host, _, port in hosts)
        )
        sockets += [socket for _, socket in made]
        async with asyncio.timeout(30):
            await asyncio.gather(*(socket.acknowledged for _, socket in made))
    return sockets


def allow_files(wanted: int) -> int:
    """Lets this process and those it starts open so many files, or as many as may be; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed, soft)
