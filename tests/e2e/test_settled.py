"""What is said of a command's end: read your own writes, commandSettled, and that settled is never queued again."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from protocol.ids import new_command_id
from tests.e2e.altered import program
from tests.e2e.clients import ADD, CONTACT, DELETE, UPDATE, Client, Json, eventually, subscribed
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack

DELAY = 0.3
WITHIN = 10.0

CONTACT_AFTER = """query($id: String!, $after: String!) {
  contact(id: $id, afterCommand: $after) { name version } }"""
LIST_AFTER = "query($after: String!) { listContacts(count: 1000, afterCommand: $after) { id name } }"
SETTLED = "subscription($id: String!) { commandSettled(id: $id) { id state message reason version settledAt } }"
FINAL = {"APPLIED", "REJECTED", "CANCELLED", "DISCARDED"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.address["second"] = f"{HOST}:{free_port()}"
        stack.gateway("second", address=stack.address["second"])
        stack.broker(), stack.reader(), stack.writer(), stack.gateway()
        database = stack.database()
        database.command = program("defective_database", "rundatabase")
        yield stack.start()


@pytest.fixture
async def there(stack: Stack) -> AsyncIterator[Client]:
    """A client of the second gateway."""
    async with Client(f"http://{stack.address['second']}") as client:
        yield client


async def told_settled(url: str, command_id: str, within: float = WITHIN) -> Json:
    async with subscribed(url, SETTLED, id=command_id) as settled:
        return await settled.next(within)


async def test_a_read_after_a_command_sees_its_effect_through_either_gateway(client: Client, there: Client) -> None:
    for number in range(5):
        added = await client.add(f"read after it {number}")
        contact_id = added["contactId"]
        after = {"id": contact_id, "after": added["commandId"]}
        here, listed, elsewhere = await asyncio.gather(
            client.data(CONTACT_AFTER, **after),
            client.data(LIST_AFTER, after=added["commandId"]),
            there.data(CONTACT_AFTER, **after),
        )
        assert here["contact"] == elsewhere["contact"] == {"name": f"read after it {number}", "version": 1}
        assert contact_id in {contact["id"] for contact in listed["listContacts"]}

        renamed = (await there.data(UPDATE, id=contact_id, name="renamed"))["updateContact"]
        seen = (await client.data(CONTACT_AFTER, id=contact_id, after=renamed["commandId"]))["contact"]
        assert seen == {"name": "renamed", "version": 2}

        deleted = (await client.data(DELETE, id=contact_id))["deleteContact"]
        assert await there.code(CONTACT_AFTER, id=contact_id, after=deleted["commandId"]) == "NOT_FOUND"
        # What has settled is not waited for.
        assert await client.code(CONTACT_AFTER, id=contact_id, after=added["commandId"]) == "NOT_FOUND"


async def test_a_read_after_a_command_that_nobody_sent_is_told_so(client: Client) -> None:
    assert await client.code(CONTACT_AFTER, id="whoever", after=new_command_id()) == "NOT_FOUND"


async def test_a_queued_command_is_told_when_it_settles_and_a_settled_one_at_once(stack: Stack, client: Client) -> None:
    added = await client.add("told of")
    second = f"http://{stack.address['second']}"
    told = await asyncio.gather(told_settled(stack.url, added["commandId"]), told_settled(second, added["commandId"]))
    assert told[0] == told[1]
    assert (told[0]["state"], told[0]["version"]) == ("APPLIED", 1)
    for url in (stack.url, second):
        assert await told_settled(url, added["commandId"], within=1) == told[0]


async def test_a_parked_command_is_said_to_be_parked_and_told_once_it_is_settled(
    stack: Stack, client: Client, there: Client
) -> None:
    added = await client.add("a defect")
    behind = (await there.data(UPDATE, id=added["contactId"], name="behind it"))["updateContact"]
    healthy = await client.add("not concerned")
    assert (await told_settled(stack.url, healthy["commandId"]))["state"] == "APPLIED"

    async def parked() -> bool:
        return [await there.state(each["commandId"]) for each in (added, behind)] == ["PARKED", "PARKED"]

    await eventually(parked, within=WITHIN, what="both are parked")
    (error,) = (await client.execute(CONTACT_AFTER, id=added["contactId"], after=added["commandId"]))["errors"]
    assert error["extensions"]["code"] == "CONFLICT"
    assert "parked" in error["message"]
    assert "a planted defect" in error["message"]

    async with (
        subscribed(stack.url, SETTLED, id=added["commandId"]) as of_added,
        subscribed(f"http://{stack.address['second']}", SETTLED, id=behind["commandId"]) as of_behind,
    ):
        (stack.var / "mended").write_text("yes")
        try:
            # It is tried again 1, 2, 4, 8 s after it failed; nobody has to do anything.
            told = [await of_added.next(20), await of_behind.next(20)]
        finally:
            (stack.var / "mended").unlink()
    assert [(each["state"], each["version"]) for each in told] == [("APPLIED", 1), ("APPLIED", 2)]
    assert (await client.data(CONTACT_AFTER, id=added["contactId"], after=behind["commandId"]))["contact"] == {
        "name": "behind it",
        "version": 2,
    }


async def test_a_rejected_command_is_told_with_its_reason(stack: Stack, client: Client) -> None:
    added = await client.add("to be deleted")
    first = (await client.data(DELETE, id=added["contactId"]))["deleteContact"]
    second = (await client.data(DELETE, id=added["contactId"]))["deleteContact"]
    assert (await told_settled(stack.url, first["commandId"]))["state"] == "APPLIED"
    told = await told_settled(stack.url, second["commandId"])
    assert (told["state"], told["reason"]) == ("REJECTED", "NOT_FOUND")
    assert told["message"] == f"user with id {added['contactId']} not found"
    assert await client.code(CONTACT, id=added["contactId"]) == "NOT_FOUND"


async def test_what_was_said_to_be_settled_is_never_said_to_be_queued_again(
    stack: Stack, client: Client, there: Client
) -> None:
    """Of each gateway for itself, over a kill -9 of it under load, while the other one settles too."""
    commands: list[str] = []
    settled: dict[Client, set[str]] = {client: set(), there: set()}
    taken_back: list[str] = []
    asked = 0

    async def ask(gateway: Client) -> None:
        nonlocal asked
        while True:
            for command_id in commands[-40:]:
                try:
                    state = await gateway.state(command_id)
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
                    continue
                asked += 1
                if state in FINAL:
                    settled[gateway].add(command_id)
                elif command_id in settled[gateway]:
                    taken_back.append(f"{command_id} is {state}")
            await asyncio.sleep(0)

    async def add() -> None:
        number = 0
        while True:
            number += 1
            answer = await there.data(ADD, name=f"asked for {number}")
            commands.append(answer["addContact"]["commandId"])
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (ask(client), ask(there), add())]

        async def grown_by(count: int) -> None:
            goal = len(settled[client]) + count

            async def grown() -> bool:
                return len(settled[client]) >= goal

            await eventually(grown, within=30, what=f"{count} more are settled")

        try:
            await grown_by(30)
            stack["gateway"].kill()
            stack["gateway"].start()
            await grown_by(30)
        finally:
            for task in tasks:
                task.cancel()
    print(f"{len(commands)} commands, asked for {asked} times")
    assert not taken_back
