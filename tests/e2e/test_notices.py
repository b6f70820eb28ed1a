"""Notices, with two gateways on one journal (uvicorn and runserver): who is connected to either sees the same."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.e2e.clients import DELETE, UPDATE, Client, subscribed
from tests.e2e.scenario import act_out_the_example
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack

DELAY = 0.3
ROUNDS = 10


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.address["second"] = f"{HOST}:{free_port()}"
        stack.gateway("second", server="runserver", address=stack.address["second"])
        yield stack.start_ring()


@pytest.fixture
def urls(stack: Stack) -> tuple[str, str]:
    return stack.url, f"http://{stack.address['second']}"


@pytest.mark.parametrize("gateway", [0, 1], ids=["uvicorn", "runserver"])
async def test_uvicorn_and_runserver_serve_the_same(urls: tuple[str, str], gateway: int) -> None:
    async with Client(urls[gateway]) as client:
        assert await client.is_whole()
    await act_out_the_example(urls[gateway], DELAY)


async def test_subscribers_of_both_see_every_notice_once_in_the_same_order(urls: tuple[str, str]) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url)) for url in urls]
        sockets = [await stack.enter_async_context(subscribed(url)) for url in (*urls, *urls)]
        commands: list[str] = []
        for number in range(ROUNDS):
            # What one gateway accepted the other one knows: its update and delete follow the add, in order.
            here, there = clients[number % 2], clients[1 - number % 2]
            added = await here.add(f"contact {number}")
            updated = await there.data(UPDATE, id=added["contactId"], name=f"contact {number}, changed")
            deleted = await here.data(DELETE, id=added["contactId"])
            commands += [added["commandId"], updated["updateContact"]["commandId"]]
            commands.append(deleted["deleteContact"]["commandId"])
        seen = await asyncio.gather(*(socket.take(len(commands)) for socket in sockets))

    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert sorted(notice["commandId"] for notice in seen[0]) == sorted(commands)
    order = {command: place for place, command in enumerate(notice["commandId"] for notice in seen[0])}
    for add, update, delete in zip(commands[::3], commands[1::3], commands[2::3], strict=True):
        assert order[add] < order[update] < order[delete]
    assert {notice["kind"] for notice in seen[0]} == {"ADDED", "UPDATED", "DELETED"}


async def test_a_command_accepted_by_one_is_known_to_the_other(urls: tuple[str, str]) -> None:
    async with Client(urls[0]) as here, Client(urls[1]) as there, subscribed(urls[1]) as notices:
        added = await here.add("known to both")
        assert await there.state(added["commandId"]) == "QUEUED"
        await notices.until_seen({added["commandId"]})
        assert await there.state(added["commandId"]) == "APPLIED"


async def test_filters_let_through_what_is_asked_for(urls: tuple[str, str]) -> None:
    async with Client(urls[0]) as client, AsyncExitStack() as stack:
        first, second = await client.add("first"), await client.add("second")
        by_contact = await stack.enter_async_context(
            subscribed(urls[1], contactId=second["contactId"], afterPosition="0")
        )
        by_command = await stack.enter_async_context(
            subscribed(urls[0], commandId=second["commandId"], afterPosition="0")
        )
        assert (await by_contact.next())["commandId"] == second["commandId"]
        assert (await by_command.next())["contactId"] == second["contactId"]
        assert first["contactId"] != second["contactId"]


async def test_who_resumes_after_a_gateway_restart_misses_nothing_and_sees_nothing_twice(
    stack: Stack, urls: tuple[str, str]
) -> None:
    async with Client(urls[1]) as other:
        async with subscribed(urls[0]) as notices:
            before = [await other.add(f"before {number}") for number in range(5)]
            seen = await notices.until_seen({each["commandId"] for each in before})
            stack["gateway"].kill()
        missed = [await other.add(f"missed {number}") for number in range(5)]
        stack["gateway"].start()
        async with subscribed(urls[0], afterPosition=seen[-1]["position"]) as notices:
            live = [await other.add(f"live {number}") for number in range(5)]
            resumed = await notices.take(10)
        async with subscribed(urls[0], afterPosition=seen[-1]["position"]) as notices:
            again = await notices.take(10)
    assert {notice["commandId"] for notice in resumed} == {each["commandId"] for each in (*missed, *live)}
    assert len({notice["position"] for notice in (*seen, *resumed)}) == 15
    assert again == resumed
