"""Asks a process from the outside whether it works, by the least that its protocol allows."""

import asyncio
import os

from cqrs.transport.addresses import split_address

_WITHIN = 2.0


async def answers_http(address: str, path: str) -> bool:
    """Whether an HTTP GET of `path` is answered with 200 within two seconds."""
    question = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    return (await _first(address, question)).split(b" ")[1:2] == [b"200"]


async def answers_mqtt(address: str) -> bool:
    """Whether a broker answers an MQTT 3.1.1 CONNECT within two seconds, be it with a refusal of our anonymity."""
    identifier = f"contacts-health-{os.urandom(3).hex()}".encode()
    # Protocol name and level, clean session, keepalive 60 s, client id.
    body = b"\0\4MQTT\4\2\0\x3c" + len(identifier).to_bytes(2, "big") + identifier
    # A CONNACK has type 2 and two bytes.
    return (await _first(address, b"\x10" + bytes([len(body)]) + body, last=b"\xe0\0")).startswith(b"\x20\2")


async def _first(address: str, question: bytes, *, last: bytes = b"") -> bytes:
    """The first bytes of the answer to `question`, after which `last` is said; none when there is no answer."""
    try:
        async with asyncio.timeout(_WITHIN):
            reader, writer = await asyncio.open_connection(*split_address(address))
            try:
                writer.write(question)
                answer = await reader.read(64)
                writer.write(last)
                await writer.drain()
            finally:
                writer.close()
    except OSError:
        return b""
    return answer
