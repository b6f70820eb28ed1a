"""Asks a process from the outside whether it works, by the least that its protocol allows."""

import asyncio
import os

from cqrs.transport.addresses import split_address

_WITHIN = 2.0


async def answers_http(address: str, path: str) -> bool:
    """Whether an HTTP GET of `path` is answered with 200 within two seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    return (await _exchange(address, request)).split(b" ")[1:2] == [b"200"]


async def answers_mqtt(address: str) -> bool:
    """Whether a broker answers an MQTT 3.1.1 CONNECT within two seconds; a refusal of an anonymous client counts."""
    identifier = f"contacts-health-{os.urandom(3).hex()}".encode()
    # Protocol name and level, clean session, keepalive 60 s, client id.
    body = b"\0\4MQTT\4\2\0\x3c" + len(identifier).to_bytes(2, "big") + identifier
    connect, disconnect = b"\x10" + bytes([len(body)]) + body, b"\xe0\0"
    # A CONNACK has type 2 and two bytes.
    return (await _exchange(address, connect, farewell=disconnect)).startswith(b"\x20\2")


async def _exchange(address: str, request: bytes, *, farewell: bytes = b"") -> bytes:
    """The first bytes of the answer to `request`; empty when there is none. Sends `farewell` before it closes."""
    try:
        async with asyncio.timeout(_WITHIN):
            reader, writer = await asyncio.open_connection(*split_address(address))
            try:
                writer.write(request)
                answer = await reader.read(64)
                writer.write(farewell)
                await writer.drain()
            finally:
                writer.close()
    except OSError:
        return b""
    return answer
