"""Messages of ten megabytes and floods of garbage, on every port and topic: all go on, and say little of it."""

import asyncio
import contextlib
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import aiomqtt
import grpc
import httpx
import pytest
import websockets

from cqrs.store.models import MalformedMessage
from protocol import topics
from tests.e2e.clients import ADD, Client, eventually, subscribed
from tests.support.processes import Stack

WITHIN = 10.0
TEN_MEGABYTES = 10 * 1024 * 1024
FLOOD = 300
# Lines that one process may write for a flood of 300 messages.
LINES = 60
ALL_TOPICS = (topics.ADD, topics.UPDATE, topics.DELETE, topics.BATCH, topics.CANCEL, topics.HELLO)
READ, WRITE = ("Read", "GetOutcomes", "ReadNotices"), ("Apply", "RecordMalformed")
METHODS = {
    "reader": [
        "protocol.ContactReader/GetContact",
        "protocol.ContactReader/ListContacts",
        *(f"cqrs.ReadService/{method}" for method in READ),
    ],
    "database": [
        *(f"protocol.ContactWriter/{verb}Contact" for verb in ("Add", "Update", "Delete")),
        *(f"cqrs.WriteService/{method}" for method in WRITE),
    ],
}


@pytest.fixture(scope="module", params=["amqtt", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with Stack(delay=0.2) as stack:
        stack.mosquitto() if request.param == "mosquitto" else stack.broker()
        stack.database(), stack.reader(), stack.writer(), stack.gateway()
        yield stack.start()


@pytest.fixture(autouse=True)
async def goes_on(stack: Stack, client: Client) -> None:
    """After each test: nobody died, a command takes effect, and the logs are short and without tracebacks."""
    pids = {name: service.pid for name, service in stack.services.items()}
    lengths = {name: len(service.log()) for name, service in stack.services.items()}
    yield
    await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is there")
    async with subscribed(stack.url) as notices:
        added = await client.add("after all of that")
        await notices.until_seen({added["commandId"]}, within=WITHIN)
    assert all(service.running for service in stack.services.values())
    assert pids == {name: service.pid for name, service in stack.services.items()}
    for name, service in stack.services.items():
        said = service.log()[lengths[name] :]
        assert "Traceback" not in said, f"{name}: {said}"
        if service.command[0] != "/usr/sbin/mosquitto":
            assert len(said.splitlines()) <= LINES, f"{name}: {said}"
            assert len(said) < 30_000


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def malformed(stack: Stack) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(stack.var / "contacts.sqlite3")) as database:
        return database.execute(f"SELECT topic, size FROM {MalformedMessage._meta.db_table}").fetchall()


async def pour(address: str, *parts: bytes) -> None:
    """Sends bytes to a port on a connection of their own, and whatever comes back is ignored."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*split(address))
            try:
                for part in parts:
                    writer.write(part)
                await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
                await reader.read(65_536)
            finally:
                writer.transport.abort()


async def test_ten_megabytes_are_refused_over_http(stack: Stack) -> None:
    body = json.dumps({"query": ADD, "variables": {"name": "x" * TEN_MEGABYTES}}).encode()
    async with httpx.AsyncClient(base_url=stack.url, timeout=15) as http:
        with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):
            # It may hang up before it has been sent all.
            answer = await http.post("/graphql", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 413
        answer = await http.post("/graphql", content=body[:300_000], headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_ten_megabytes_close_a_websocket(stack: Stack) -> None:
    address = stack.url.replace("http://", "ws://") + "/graphql"
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    async with websockets.connect(address, subprotocols=protocols) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        with pytest.raises(websockets.ConnectionClosed) as closed:  # noqa: PT012 (either may notice it)
            await socket.send(" " * TEN_MEGABYTES)
            await asyncio.wait_for(socket.recv(), 10)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


@pytest.mark.parametrize("role", ["reader", "database"])
async def test_ten_megabytes_and_garbage_are_refused_over_grpc(stack: Stack, role: str) -> None:
    methods = METHODS[role]
    noise = random.Random(1)
    async with grpc.aio.insecure_channel(stack.address[role]) as channel:
        for method in methods:
            call = channel.unary_unary(f"/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(bytes(TEN_MEGABYTES), timeout=10)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

            async def send(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call(b"\xff" + noise.randbytes(50), timeout=10)

            await asyncio.gather(*(send(call) for _ in range(FLOOD // len(methods))))


async def test_ten_megabytes_on_each_topic_stop_nobody(stack: Stack) -> None:
    for topic in ALL_TOPICS:
        # The embedded broker ends the connection; another one hands it on, and the writer keeps its beginning.
        with contextlib.suppress(aiomqtt.MqttError):
            async with aiomqtt.Client(*split(stack.address["broker"]), timeout=0.5) as broker:
                await broker.publish(topic, bytes(TEN_MEGABYTES), qos=1)
    if "mosquitto" in stack["broker"].command[0]:

        async def kept() -> bool:
            expected = {(topic, TEN_MEGABYTES) for topic in ALL_TOPICS if topic != topics.HELLO}
            return expected <= set(malformed(stack))

        await eventually(kept, within=WITHIN, what="the beginning of each is kept")


async def test_a_flood_of_garbage_on_the_topics_is_kept_and_summed_up(stack: Stack, client: Client) -> None:
    noise = random.Random(2)
    async with subscribed(stack.url) as notices:
        accepted = set()
        async with aiomqtt.Client(*split(stack.address["broker"])) as broker:
            for number in range(FLOOD):
                await broker.publish(ALL_TOPICS[number % 5], b"\xff" + noise.randbytes(number), qos=1)
                if number % 30 == 0:
                    accepted.add((await client.add(f"amid garbage {number}"))["commandId"])
        assert {notice["kind"] for notice in await notices.until_seen(accepted, within=WITHIN)} == {"ADDED"}

    async def kept() -> bool:
        return len(malformed(stack)) >= FLOOD

    await eventually(kept, within=WITHIN, what="all of it is kept")


@pytest.mark.parametrize("role", ["gateway", "reader", "database", "broker"])
async def test_a_flood_of_garbage_on_a_port_stops_nobody(stack: Stack, client: Client, role: str) -> None:
    noise = random.Random(3)
    address = stack.address[role]
    beginnings = (
        b"",
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    )
    for start in range(0, FLOOD, 50):
        await asyncio.gather(
            *(
                pour(address, beginnings[number % len(beginnings)], noise.randbytes(number * 10))
                for number in range(start, start + 50)
            )
        )
        await client.names()


async def test_a_flood_of_garbage_on_websockets_stops_nobody(stack: Stack, client: Client) -> None:
    address = stack.url.replace("http://", "ws://") + "/graphql"
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    noise = random.Random(4)

    async def send(number: int) -> None:
        with contextlib.suppress(websockets.WebSocketException, OSError):
            async with websockets.connect(address, subprotocols=protocols) as socket:
                if number % 2:
                    await socket.send('{"type": "connection_init"}')
                garbage: str | bytes = noise.randbytes(100)
                if number % 3:
                    kinds = ("subscribe", "ping", "complete", "next", "")
                    garbage = json.dumps({"id": "1", "type": kinds[number % 5], "payload": {"query": "{" * number}})
                await socket.send(garbage)
                await asyncio.wait_for(socket.recv(), 0.2)
                socket.transport.abort()

    for start in range(0, FLOOD, 50):
        await asyncio.gather(*(send(number) for number in range(start, start + 50)), return_exceptions=True)
    await client.names()
