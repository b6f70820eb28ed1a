"""Resuming: a thousand sockets that come back at once after a gateway restart, and a client that stalls."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
import websockets

from tests.e2e.burst import add_all
from tests.e2e.clients import Client, Json, subscribed
from tests.support.processes import Stack, manage

SOCKETS = 1000
MISSED = 20
LIVE = 5
# Promised are 2 s for the sockets, which the benchmarks measure; here their clients take most of the time.
SERVED = 20.0

POSITIONS = """subscription($afterPosition: String) {
  contactChanged(afterPosition: $afterPosition) { position commandId } }"""
# A notice of 100 KB: what a client that takes nothing is owed piles up quickly.
LARGE = POSITIONS.replace(
    "commandId", "commandId" + "".join(f" c{number}: contact {{ id name lastUpdated }}" for number in range(400))
)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.3) as stack:
        stack.broker(), stack.database(), stack.reader(), stack.writer()
        # As in production: what is written to a socket there is held together.
        stack.gateway().command = manage("rungateway")
        yield stack.start()


async def add_many(url: str, count: int, name: str) -> set[str]:
    return {answer["commandId"] for answer in await add_all(url, [f"{name} {number}" for number in range(count)])}


async def test_a_thousand_sockets_that_resume_at_once_are_served_without_gap_or_repeat(stack: Stack) -> None:
    async with subscribed(stack.url) as notices:
        before = await add_many(stack.url, 5, "before")
        position = (await notices.until_seen(before))[-1]["position"]
    async with subscribed(stack.url, afterPosition=position) as notices:
        missed = await add_many(stack.url, MISSED, "missed")
        stack["gateway"].kill()
    stack["gateway"].start()
    # What they missed is applied by now, so that they get it as past and not as it comes.
    async with subscribed(stack.url, afterPosition=position) as notices:
        expected = [notice["commandId"] for notice in await notices.until_seen(missed)]
    assert len(expected) == MISSED

    started = time.monotonic()
    served: list[float] = []
    all_served = asyncio.Event()

    async def resume() -> list[str]:
        """The commands that one socket is told of: those it missed, then those of now."""
        async with subscribed(stack.url, POSITIONS, afterPosition=position) as notices:
            told = await notices.take(MISSED, within=SERVED * 2)
            served.append(time.monotonic() - started)
            if len(served) == SOCKETS:
                all_served.set()
            told += await notices.take(LIVE, within=SERVED * 3)
            return [notice["commandId"] for notice in told]

    async with asyncio.TaskGroup() as group:
        sockets = [group.create_task(resume()) for _ in range(SOCKETS)]
        async with asyncio.timeout(SERVED * 2):
            await all_served.wait()
        live = await add_many(stack.url, LIVE, "live")
    print(
        f"{SOCKETS} sockets were served {MISSED} notices each: half in {sorted(served)[SOCKETS // 2]:.1f} s,", end=" "
    )
    print(f"all in {max(served):.1f} s, their client included")
    assert max(served) < SERVED
    first = sockets[0].result()
    assert first[:MISSED] == expected
    assert set(first[MISSED:]) == live
    assert all(socket.result() == first for socket in sockets)


async def test_a_client_that_stalls_is_closed_with_4413_and_can_resume(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        start = (await notices.until_seen({(await client.add("start"))["commandId"]}))[-1]["position"]
    address = stack.url.replace("http://", "ws://") + "/graphql"
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    name = "x" * 190
    told: list[Json] = []
    async with websockets.connect(address, subprotocols=protocols, max_size=None) as socket:
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": LARGE, "variables": {"afterPosition": start}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        owed = await add_many(stack.url, 80, name)

        async def read_on() -> None:
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "next":
                    told.append(message["payload"]["data"]["contactChanged"])

        # It reads, for the code to be seen, but shows nothing of it: no pong.
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(read_on(), 40)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4413, closed.value
    print(f"closed after {len(told)} notices: {closed.value.rcvd.reason}")
    assert 0 < len(told) < len(owed)
    # Others were served meanwhile, and it goes on where it was.
    await client.add("meanwhile")
    missing = owed - {notice["commandId"] for notice in told}
    async with subscribed(stack.url, POSITIONS, afterPosition=told[-1]["position"]) as notices:
        rest = await notices.until_seen(missing)
    assert {notice["commandId"] for notice in rest} >= missing
    assert not {notice["commandId"] for notice in rest} & {notice["commandId"] for notice in told}
