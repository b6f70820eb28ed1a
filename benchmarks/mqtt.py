"""MQTT as bare as it can be: what a broker passes on, not what a client library can ask of it."""

import asyncio
from collections.abc import Callable
from typing import Any

_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 2, 3, 4, 9
# Messages that wait for their acknowledgement.
WINDOW = 200


class Peer(asyncio.Protocol):
    """One connection, QoS 1. on_message: called once for each message that comes."""

    def __init__(self, name: str, on_message: Callable[[], None] = lambda: None) -> None:
        self.acknowledged = 0
        self._on_message = on_message
        self._name = name
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Queue[int] = asyncio.Queue()
        self._progress = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        name = self._name.encode()
        # Protocol name and level, clean session, keepalive of a minute, client id.
        self._send(0x10, b"\0\4MQTT\4\2\0\x3c" + len(name).to_bytes(2, "big") + name)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        at, rest, answers = 0, self._rest, b""
        while (packet := _packet(rest, at)) is not None:
            start, end = packet
            kind = rest[at] >> 4
            at = end
            if kind == _PUBLISH:
                number = start + 2 + int.from_bytes(rest[start : start + 2], "big")
                answers += b"\x40\2" + rest[number : number + 2]
                self._on_message()
            elif kind == _PUBACK:
                self.acknowledged += 1
                self._progress.set()
            elif kind in (_CONNACK, _SUBACK):
                self._answered.put_nowait(kind)
        self._rest = rest[at:]
        if answers and self._transport is not None:
            self._transport.write(answers)

    async def connected(self) -> None:
        assert await self._answered.get() == _CONNACK

    async def subscribe(self, topic: str) -> None:
        name = topic.encode()
        self._send(0x82, b"\0\1" + len(name).to_bytes(2, "big") + name + b"\1")
        assert await self._answered.get() == _SUBACK

    async def publish(self, topic: str, payload: bytes, count: int) -> None:
        """Sends so many messages, each acknowledged when this returns."""
        name = topic.encode()
        head, goal = len(name).to_bytes(2, "big") + name, self.acknowledged + count
        for number in range(count):
            while goal - count + number - self.acknowledged >= WINDOW:
                self._progress.clear()
                await self._progress.wait()
            self._send(0x32, head + (number % 65535 + 1).to_bytes(2, "big") + payload)
        while self.acknowledged < goal:
            self._progress.clear()
            await self._progress.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _send(self, kind: int, body: bytes) -> None:
        assert self._transport is not None
        length, left = b"", len(body)
        while True:
            left, byte = left // 128, left % 128
            length += bytes([byte | (128 if left else 0)])
            if not left:
                break
        self._transport.write(bytes([kind]) + length + body)


def _packet(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends; None when it is not whole."""
    length, shift = 0, 0
    for index in range(at + 1, min(at + 5, len(data))):
        length |= (data[index] & 127) << shift
        shift += 7
        if not data[index] & 128:
            end = index + 1 + length
            return (index + 1, end) if end <= len(data) else None
    return None


async def open_peer(address: str, name: str, on_message: Callable[[], None] = lambda: None) -> Peer:
    """A connection that the broker has accepted."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(lambda: Peer(name, on_message), host, int(port))
    async with asyncio.timeout(10):
        await peer.connected()
    return peer
