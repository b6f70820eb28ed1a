"""Answers that are long: bounded, built and sent in parts, and counted until they are sent."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import psutil
import pytest
import websockets

from cqrssite.graphql.context import Context
from cqrssite.graphql.engine import answers
from cqrssite.graphql.engine.answers import HELD, Held, LongResponse
from cqrssite.graphql.engine.errors import RequestRefused
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.schema import executor
from cqrssite.graphql.websocket.consumer import PROTOCOL
from tests.support.fake_gateway import FakeGateway
from tests.support.graphql_server import body, read_response, served
from tests.support.polling import eventually

MEBIBYTE = 1024 * 1024


def listing(fields: int, count: int = 1_000) -> str:
    return f"{{ listContacts(count: {count}) {{ {' '.join(f'a{n}: name' for n in range(fields))} }} }}"


@pytest.fixture
def gateway() -> FakeGateway:
    """A thousand contacts with names of 800 bytes."""
    gateway = FakeGateway()
    for number in range(1_000):
        gateway.reader.add(f"{number:04}", f"{number:04}" + "é" * 398)
    return gateway


async def run(gateway: FakeGateway, query: str, *, plainly: bool = False) -> Any:
    async def actor() -> str:
        return ""

    operation = await executor().prepare(GraphQLRequest(query, None, None, None))
    context = Context(lambda: gateway, actor, settle_seconds=1, width=operation.width)
    return await (executor().execute_plainly if plainly else executor().execute)(operation, context)


def text(response: Any) -> Any:
    return json.loads(answers.orjson.dumps(response))


async def test_rows_times_fields_are_bounded_before_anything_is_read(gateway: FakeGateway) -> None:
    for plainly in (False, True):
        response = await run(gateway, listing(51), plainly=plainly)
        (error,) = response["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["message"].startswith(
            "one operation may list at most 50000 values: these are 51 fields of 1000 contacts"
        )
    assert gateway.reader.timeouts == []


async def test_the_bytes_of_an_answer_are_bounded_while_it_is_built(gateway: FakeGateway) -> None:
    with pytest.raises(RequestRefused, match="longer than 8 MiB"):
        await run(gateway, listing(11))
    assert "data" in await run(gateway, listing(9))


async def test_a_long_answer_is_the_same_as_one_that_is_built_at_once(gateway: FakeGateway) -> None:
    for query in (listing(3), listing(1, 0), f"{{ x: __typename {listing(4)[1:-1]} b: {listing(5)[1:-1]} }}"):
        assert text(await run(gateway, query)) == text(await run(gateway, query, plainly=True))


async def test_a_field_that_fails_beside_a_long_list_is_said_and_the_list_is_there(gateway: FakeGateway) -> None:
    response = await run(gateway, f'{{ contact(id: "nobody") {{ id }} {listing(9)[1:-1]} }}')
    assert [error["path"] for error in response["errors"]] == [["contact"]]
    assert len(response["data"]["listContacts"]) == 1_000


async def test_others_are_let_in_while_a_long_answer_is_built(gateway: FakeGateway) -> None:
    for query in (listing(9), f'{{ contact(id: "nobody") {{ id }} {listing(9)[1:-1]} }}'):
        building, turns = asyncio.create_task(run(gateway, query)), 0
        while not building.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 5


async def test_long_answers_are_counted_until_nobody_has_them(gateway: FakeGateway) -> None:
    response = await run(gateway, listing(9))
    assert isinstance(response, LongResponse)
    assert HELD.size > 6 * MEBIBYTE
    del response
    assert HELD.size == 0


def test_what_is_held_is_bounded_and_short_answers_are_not_held() -> None:
    held = Held(100_000)
    first = held.hold(80_000)
    with pytest.raises(RequestRefused, match="too many long answers"):
        held.hold(80_000)
    held.hold(60_000)
    first.release()
    first.release()
    assert held.size == 0
    with held.hold(80_000):
        assert held.size == 80_000
    assert held.size == 0


# --- Over sockets of a real server


async def test_fifty_long_answers_on_a_socket_that_reads_nothing_take_little_memory(gateway: FakeGateway) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    async with served(gateway) as port:
        client = await websockets.connect(
            "ws://testserver/graphql",
            host="127.0.0.1",
            port=port,
            subprotocols=[websockets.Subprotocol(PROTOCOL)],
            max_queue=1,
            ping_interval=None,
            close_timeout=0,
        )
        await client.send('{"type":"connection_init"}')
        for number in range(50):
            payload = {"query": listing(9)}
            await client.send(json.dumps({"type": "subscribe", "id": str(number), "payload": payload}))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        slowest = most = 0.0
        loop = asyncio.get_running_loop()
        for _ in range(100):
            begun = loop.time()
            writer.write(body('{ contact(id: "0001") { id } }'))
            assert (await read_response(reader))["data"]["contact"] == {"id": "0001"}
            slowest = max(slowest, loop.time() - begun)
            most = max(most, process.memory_info().rss - before)
        writer.close()
        client.transport.abort()
        with suppress(Exception):
            await client.close()
    assert most < 400 * MEBIBYTE
    assert slowest < 1
    await eventually(lambda: HELD.size == 0)


async def test_pipelined_requests_are_not_executed_as_long_as_the_client_reads_nothing(gateway: FakeGateway) -> None:
    async with served(gateway) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(body(listing(9)) * 20)
        await eventually(lambda: HELD.size > 0)
        for _ in range(50):
            await asyncio.sleep(0.01)
            assert len(gateway.reader.timeouts) == 1
            assert HELD.size < 8 * MEBIBYTE
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(20):
            assert len((await read_response(reader))["data"]["listContacts"]) == 1_000
        writer.close()
    assert HELD.size == 0
