"""While the broker or the reader is away, mutations are accepted; what waited flows when it is back."""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import aiomqtt
import pytest

from cqrs.store.models import MalformedMessage
from tests.e2e.clients import CONTACT, LIST_CONTACTS, UPDATE, Client, Json, Notices, eventually, subscribed
from tests.support.processes import Stack

DELAY = 0.3
WITHIN = 10.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        yield stack.start_ring()


@pytest.fixture
async def notices(stack: Stack) -> AsyncIterator[Notices]:
    async with subscribed(stack.url) as notices:
        yield notices


async def is_said(client: Client, part: str, status: str) -> None:
    """Waits until /readyz says that the part is away, and what that makes of the gateway."""

    async def said() -> bool:
        readiness = await client.readiness()
        return not readiness[part]["ok"] and readiness["status"] == status

    await eventually(said, within=WITHIN, what=f"/readyz says that the {part} is away")


async def test_mutations_are_accepted_while_the_broker_is_down_and_flow_when_it_is_back(
    stack: Stack, client: Client, notices: Notices
) -> None:
    stack["broker"].kill()
    await is_said(client, "broker", "degraded")
    added = [await client.add(f"without broker {number}") for number in range(20)]
    renamed = (await client.data(UPDATE, id=added[0]["contactId"], name="renamed meanwhile"))["updateContact"]
    # Longer than the delay: what is due stays queued, and is said to be.
    deadline = time.time() + 2 * DELAY

    async def overdue() -> bool:
        return time.time() > deadline

    await eventually(overdue, within=WITHIN, what="the delay has passed")
    assert await client.state(added[0]["commandId"]) == "QUEUED"
    assert await client.names() == []

    stack["broker"].start()
    seen = await notices.until_seen({each["commandId"] for each in (*added, renamed)}, within=WITHIN)
    assert len(seen) == 21
    assert await client.state(renamed["commandId"]) == "APPLIED"
    assert sorted(await client.names()) == sorted(
        ["renamed meanwhile", *(f"without broker {number}" for number in range(1, 20))]
    )
    await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is there")


async def test_mutations_are_accepted_while_the_reader_is_down_and_are_seen_when_it_is_back(
    stack: Stack, client: Client, notices: Notices
) -> None:
    stack["reader"].kill()
    await is_said(client, "reader", "unavailable")
    added = [await client.add(f"without reader {number}") for number in range(20)]

    started = time.monotonic()
    accepted: Json = (await client.data(UPDATE, id="not-known-here", name="decided later"))["updateContact"]
    assert accepted["status"] == "OK"
    print(f"an update without the reader was accepted in {time.monotonic() - started:.2f} s")
    assert time.monotonic() - started < 2
    assert await client.code(LIST_CONTACTS) == "UNAVAILABLE"
    assert await client.code(CONTACT, id="whoever") == "UNAVAILABLE"

    stack["reader"].start()
    seen = await notices.until_seen({each["commandId"] for each in (*added, accepted)}, within=WITHIN)
    assert len(seen) == 21
    (rejected,) = [notice for notice in seen if notice["commandId"] == accepted["commandId"]]
    assert (rejected["kind"], rejected["reason"]) == ("REJECTED", "NOT_FOUND")
    assert await client.state(accepted["commandId"]) == "REJECTED"
    assert sum(name.startswith("without reader") for name in await client.names()) == 20
    await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is there")


async def test_garbage_on_the_topics_is_kept_with_its_reason_and_stops_nobody(
    stack: Stack, client: Client, notices: Notices
) -> None:
    host, _, port = stack.address["broker"].rpartition(":")
    async with aiomqtt.Client(host, int(port)) as broker:
        for topic in ("CONTACT/ADD", "CONTACT/UPDATE", "CONTACT/DELETE"):
            await broker.publish(topic, b"\xff\xff garbage", qos=1)
        added = await client.add("after the garbage")
        await notices.until_seen({added["commandId"]}, within=WITHIN)

    async def kept() -> bool:
        with closing(sqlite3.connect(stack.var / "contacts.sqlite3")) as database:
            rows = database.execute(f"SELECT topic, reason FROM {MalformedMessage._meta.db_table}").fetchall()
        return len(rows) == 3 and all(reason for _, reason in rows)

    await eventually(kept, within=WITHIN, what="all three payloads are kept, each with its reason")
    assert "Traceback" not in stack["writer"].log()


@pytest.mark.parametrize("frozen", ["broker", "reader", "database"])
async def test_a_frozen_service_delays_and_loses_nothing(
    stack: Stack, client: Client, notices: Notices, frozen: str
) -> None:
    stack[frozen].freeze()
    try:
        added = [await client.add(f"{frozen} frozen {number}") for number in range(5)]
    finally:
        stack[frozen].thaw()
    seen = await notices.until_seen({each["commandId"] for each in added}, within=WITHIN)
    assert len(seen) == 5
