"""The broker away at the start and for long, services frozen, a database that is slow: accepted is applied, in time."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.e2e.altered import program
from tests.e2e.burst import add_all
from tests.e2e.clients import Client, Notices, eventually, subscribed
from tests.e2e.topics import Heard, listening
from tests.support.processes import Stack

DELAY = 0.5
# Seconds in which what waited flows once all is there again.
WITHIN = 10.0
WAITING = 2000
# Five seconds of 2,000 commands a second, and of how many mutations are the documents that bring them.
FLOOD, TOGETHER = 10_000, 100
# Seconds that services are frozen: longer than the broker waits for a word (7.5).
FROZEN = 10.0
# A load that this machine carries, in commands a second, and for how many seconds.
RATE = 100
SECONDS = 4
# Seconds of a load that is healthy.
HEALTHY = 6


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A ring without its broker, which no test has started yet."""
    with Stack(delay=DELAY) as stack:
        stack.broker()
        stack.database().command = program("slow_database", "rundatabase")
        stack.reader(), stack.writer(), stack.gateway()
        for name in ("database", "reader", "writer", "gateway"):
            stack[name].start(wait=False)
        for name in ("database", "reader", "gateway"):
            stack[name].wait_ready()
        yield stack


async def add_steadily(client: Client, rate: float, seconds: float) -> set[str]:
    """Adds contacts, so many a second; returns the commands."""
    loop = asyncio.get_running_loop()
    started, added = loop.time(), list[asyncio.Task[str]]()

    async def add(number: int) -> str:
        command_id: str = (await client.add(f"steady {started} {number}"))["commandId"]
        return command_id

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(started + number / rate - loop.time())
            added.append(group.create_task(add(number)))
    return {task.result() for task in added}


async def assert_applied_once(notices: Notices, accepted: set[str], within: float = WITHIN) -> None:
    seen = await notices.until_seen(accepted, within=within)
    assert len(seen) == len(accepted)
    assert {notice["kind"] for notice in seen} == {"ADDED"}


async def test_what_was_accepted_before_there_was_a_broker_flows_within_ten_seconds_of_its_start(
    stack: Stack, client: Client
) -> None:
    async with subscribed(stack.url) as notices:
        accepted = {answer["commandId"] for answer in await add_all(stack.url, [f"w {n}" for n in range(WAITING)])}
        assert len(accepted) == WAITING
        stack["broker"].start()
        started = time.monotonic()
        await assert_applied_once(notices, accepted)
        print(f"{WAITING} commands flowed within {time.monotonic() - started:.1f} s of the broker's start")
    await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is there")


async def test_under_a_healthy_load_less_than_one_percent_is_sent_twice(stack: Stack) -> None:
    # A load is healthy where the machine carries it: a busy one has to have carried one of these.
    for rate in (500, 250, 100):
        names = [f"healthy {rate} {number}" for number in range(rate * HEALTHY)]
        async with subscribed(stack.url) as notices, listening(stack.address["broker"]) as heard:
            started = time.monotonic()
            accepted = {answer["commandId"] for answer in await add_all(stack.url, names, rate=rate)}
            sent = time.monotonic() - started
            await assert_applied_once(notices, accepted)
            took = time.monotonic() - started

            async def all_heard(accepted: set[str] = accepted, heard: Heard = heard) -> bool:
                return accepted <= set(heard.commands)

            await eventually(all_heard, within=10, what="every message comes to the listener, too")
        print(
            f"{len(accepted)} commands in {sent:.2f} s, applied after {took:.2f} s, in {heard.messages} messages,"
            f" {heard.repeated} sent again"
        )
        if took <= HEALTHY + DELAY + 0.3:
            break
    assert heard.repeated < len(accepted) / 100


async def test_what_waited_five_seconds_at_two_thousand_a_second_flows_within_ten_seconds(
    stack: Stack, client: Client
) -> None:
    stack["broker"].kill()
    async with subscribed(stack.url) as notices:
        accepted: set[str] = set()
        for first in range(0, FLOOD, TOGETHER):
            adds = (f'm{n}: addContact(name: "flood {n}") {{ commandId }}' for n in range(first, first + TOGETHER))
            answers = await client.data(f"mutation {{ {' '.join(adds)} }}")
            accepted |= {answer["commandId"] for answer in answers.values()}
        assert len(accepted) == FLOOD
        stack["broker"].start()
        started = time.monotonic()
        await assert_applied_once(notices, accepted)
        print(f"{FLOOD} commands flowed within {time.monotonic() - started:.1f} s of the broker's start")


async def test_what_was_accepted_in_a_long_outage_flows_within_ten_seconds_and_hardly_twice(
    stack: Stack, client: Client
) -> None:
    said = stack["gateway"].log().count("waiting for the broker")
    stack["broker"].kill()
    async with subscribed(stack.url) as notices:
        accepted = {answer["commandId"] for answer in await add_all(stack.url, [f"l {n}" for n in range(WAITING)])}
        # All of it overdue, and long so: the sweep has nothing to do with it.
        accepted |= await add_steadily(client, 20, 3 * DELAY + 1)
        stack["broker"].start()
        started = time.monotonic()
        async with listening(stack.address["broker"]) as heard:
            await assert_applied_once(notices, accepted)
            flowed = time.monotonic() - started
        print(f"{len(accepted)} commands flowed within {flowed:.1f} s, {heard.repeated} sent again")
    # Once for the broker that came back, once for the writer's hello, and once by a sweep in between.
    assert heard.repeated <= 2 * len(accepted)
    assert stack["gateway"].log().count("waiting for the broker") == said + 1


@pytest.mark.parametrize("frozen", [("broker", "reader"), ("database", "writer")], ids="-".join)
async def test_services_that_are_frozen_for_ten_seconds_lose_nothing(
    stack: Stack, client: Client, frozen: tuple[str, str]
) -> None:
    async with subscribed(stack.url) as notices:
        accepted = await add_steadily(client, 20, 0.5)
        for name in frozen:
            stack[name].freeze()
        try:
            accepted |= await add_steadily(client, 20, FROZEN)
        finally:
            for name in frozen:
                stack[name].thaw()
        thawed = time.monotonic()
        await assert_applied_once(notices, accepted)
        print(f"{len(accepted)} commands were settled {time.monotonic() - thawed:.1f} s after the thaw")
    await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is there")
    for service in stack.services.values():
        assert "Traceback" not in service.log(), service.name


async def test_a_slow_database_makes_notices_late_and_nothing_else(stack: Stack, client: Client) -> None:
    (stack.var / "slow").write_text("0.7")
    try:
        async with subscribed(stack.url) as notices, listening(stack.address["broker"]) as heard:
            accepted = await add_steadily(client, RATE, SECONDS)
            await client.names()
            await assert_applied_once(notices, accepted)
        print(f"{heard.repeated} of {len(accepted)} sent again")
        assert heard.repeated < len(accepted) / 10
    finally:
        (stack.var / "slow").unlink()
