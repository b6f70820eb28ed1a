"""The proxy between real sockets: what passes, and what each fault does to it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos import mqtt
from chaos.proxy import Link, MqttLink
from cqrs.transport.addresses import split_address
from tests.unit.tools.test_chaos_mqtt import publish

DICE = random.Random(1)


class Peer:
    """The server behind the proxy: keeps what it got, sends what it is told."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.changed = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionResetError):
            while chunk := await reader.read(65536):
                self.got += chunk
                self.changed.set()
        writer.close()

    async def until(self, got: bytes) -> None:
        async with asyncio.timeout(5):
            while bytes(self.got) != got:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def opened(link_class: type[Link]) -> AsyncIterator[tuple[Link, Peer]]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    link = link_class("test", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await link.start()
    try:
        yield link, peer
    finally:
        await link.close()
        server.close()


async def connect(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*split_address(link.address))


async def read_to_the_end(link: Link) -> bytes:
    reader, writer = await connect(link)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_what_is_sent_passes_both_ways() -> None:
    async with opened(Link) as (link, peer):
        reader, writer = await connect(link)
        writer.write(b"there")
        await peer.until(b"there")
        peer.writers[0].write(b"back")
        assert await reader.readexactly(4) == b"back"
        writer.close()
        await peer.writers[0].wait_closed()


async def test_a_cut_resets_connections_and_refuses_new_ones_until_healed() -> None:
    async with opened(Link) as (link, peer):
        reader, writer = await connect(link)
        writer.write(b"x")
        await peer.until(b"x")
        link.inject("cut", DICE)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            await read_to_the_end(link)
        link.heal()
        _, writer = await connect(link)
        writer.write(b"y")
        await peer.until(b"xy")


async def test_what_stalls_passes_once_healed() -> None:
    async with opened(Link) as (link, peer):
        _, writer = await connect(link)
        writer.write(b"x")
        await peer.until(b"x")
        link.inject("stall", DICE)
        writer.write(b"y")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await peer.until(b"xy")
        link.heal()
        await peer.until(b"xy")


async def test_what_nobody_listens_behind_is_reset() -> None:
    async with opened(Link) as (link, _):
        link._target = "127.0.0.1:1"
        with pytest.raises(ConnectionResetError):
            await read_to_the_end(link)


async def test_a_held_message_is_overtaken_and_passes() -> None:
    async with opened(MqttLink) as (link, peer):
        assert isinstance(link, MqttLink)
        _, writer = await connect(link)
        link.garbler = mqtt.Garbler(DICE, double=0, drop=0, hold=1)
        writer.write(publish(b"first", 1))
        await writer.drain()
        writer.write(b"\xc0\x00")
        await peer.until(b"\xc0\x00")
        link.heal()
        await peer.until(b"\xc0\x00" + publish(b"first", 1))


async def test_a_dropped_message_is_acknowledged_and_never_arrives() -> None:
    async with opened(MqttLink) as (link, peer):
        link.garbler = mqtt.Garbler(DICE, double=0, drop=1, hold=0)
        reader, writer = await connect(link)
        writer.write(publish(b"x", 7) + b"\xc0\x00")
        assert await reader.readexactly(4) == b"\x40\x02\x00\x07"
        await peer.until(b"\xc0\x00")


async def test_it_is_said_when_a_client_has_subscribed() -> None:
    async with opened(MqttLink) as (link, peer):
        subscribed = asyncio.Event()
        link.on_subscribed = subscribed.set
        _, writer = await connect(link)
        subscribe = b"\x82\x0a\x00\x01\x00\x05topic\x01"[:2] + b"\x00\x01\x00\x05topic\x01"
        writer.write(subscribe)
        await peer.until(subscribe)
        assert subscribed.is_set()
