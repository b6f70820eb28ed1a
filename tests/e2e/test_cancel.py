"""Cancelling: before the effect, while the broker is down, through another gateway, and in a race with the effect."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from protocol.ids import aggregate_id_of, new_command_id
from tests.e2e.clients import CONTACT, UPDATE, Client, Json, eventually, subscribed
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack

DELAY = 1.0
RACES = 40
WITHIN = 10.0

CANCEL = "mutation($id: String!) { cancelCommand(id: $id) { status message commandId contactId takesEffectAt } }"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.address["second"] = f"{HOST}:{free_port()}"
        stack.gateway("second", address=stack.address["second"])
        yield stack.start_ring()


@pytest.fixture
async def there(stack: Stack) -> AsyncIterator[Client]:
    """A client of the second gateway."""
    async with Client(f"http://{stack.address['second']}") as client:
        yield client


async def end_of(client: Client, command_id: str) -> Json:
    async def ended() -> bool:
        return (await client.command(command_id))["settledAt"] is not None

    await eventually(ended, within=WITHIN, what=f"command {command_id} has ended")
    return await client.command(command_id)


async def test_a_command_cancelled_in_time_never_takes_effect(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        added = await client.add("cancelled")
        cancelled = (await client.data(CANCEL, id=added["commandId"]))["cancelCommand"]
        assert (cancelled["status"], cancelled["message"]) == ("OK", "Queued to cancel")
        assert (cancelled["commandId"], cancelled["contactId"]) == (added["commandId"], added["contactId"])
        # Asked again before it is known: the same answer.
        again = await client.execute(CANCEL, id=added["commandId"])
        assert "errors" in again or again["data"]["cancelCommand"] == cancelled
        (notice,) = await notices.until_seen({added["commandId"]})
        assert notice["kind"] == "CANCELLED"
        assert notice["contact"] is None
        # What was accepted after it shows that its own time is over.
        last = await client.add("accepted after the cancelled one")
        assert [each["commandId"] for each in await notices.until_seen({last["commandId"]})] == [last["commandId"]]
    assert (await end_of(client, added["commandId"]))["state"] == "CANCELLED"
    assert await client.code(CONTACT, id=added["contactId"]) == "NOT_FOUND"


async def test_a_cancel_through_another_gateway_counts(stack: Stack, client: Client, there: Client) -> None:
    async with subscribed(stack.url) as notices:
        added = await client.add("cancelled elsewhere")
        await there.data(CANCEL, id=added["commandId"])
        (notice,) = await notices.until_seen({added["commandId"]})
    assert notice["kind"] == "CANCELLED"
    assert (await end_of(client, added["commandId"]))["state"] == "CANCELLED"
    assert (await end_of(there, added["commandId"]))["state"] == "CANCELLED"


async def test_what_follows_a_cancelled_command_takes_effect_in_order(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        added = await client.add("kept")
        first = (await client.data(UPDATE, id=added["contactId"], name="first"))["updateContact"]
        second = (await client.data(UPDATE, id=added["contactId"], name="second"))["updateContact"]
        await client.data(CANCEL, id=first["commandId"])
        seen = await notices.until_seen({each["commandId"] for each in (added, first, second)})
    kinds = {notice["commandId"]: notice["kind"] for notice in seen}
    assert [kinds[each["commandId"]] for each in (added, first, second)] == ["ADDED", "CANCELLED", "UPDATED"]
    last = seen[-1]["contact"]
    assert (last["name"], last["version"]) == ("second", 2)


async def test_what_has_ended_or_is_not_known_cannot_be_cancelled(client: Client, there: Client) -> None:
    added = await client.add("too late")
    assert (await end_of(client, added["commandId"]))["state"] == "APPLIED"
    await end_of(there, added["commandId"])
    for gateway in (client, there):
        (error,) = (await gateway.execute(CANCEL, id=added["commandId"]))["errors"]
        assert error["extensions"]["code"] == "CONFLICT"
        assert error["message"] == f"command {added['commandId']} is applied already"
    assert await client.code(CANCEL, id=new_command_id()) == "NOT_FOUND"
    assert await client.code(CANCEL, id="!") == "BAD_USER_INPUT"


async def test_a_race_at_the_due_time_has_one_outcome_on_which_all_agree(
    stack: Stack, client: Client, there: Client
) -> None:
    async with subscribed(stack.url) as notices:
        loop = asyncio.get_running_loop()

        async def race(number: int) -> tuple[str, bool]:
            """Cancels around the due time, by either gateway; returns the command, and whether that was taken."""
            gateways = (client, there)
            added = await gateways[number % 2].add(f"raced {number}")
            due = loop.time() + added["takesEffectInMs"] / 1000
            await asyncio.sleep(due + (number - RACES / 2) * 0.0075 - loop.time())
            answer = await gateways[number // 2 % 2].execute(CANCEL, id=added["commandId"])
            if "errors" not in answer:
                return added["commandId"], True
            assert answer["errors"][0]["extensions"]["code"] == "CONFLICT", answer
            return added["commandId"], False

        taken = dict(await asyncio.gather(*map(race, range(RACES))))
        seen = await notices.until_seen(set(taken))
    assert len(seen) == RACES, "a command has two notices"
    kinds = {notice["commandId"]: notice["kind"] for notice in seen}
    assert set(kinds.values()) <= {"ADDED", "CANCELLED"}
    print(f"{list(kinds.values()).count('CANCELLED')} cancelled in time, {list(taken.values()).count(False)} refused")
    for command_id, kind in kinds.items():
        # Told that it is too late, it was; told that it is queued, it may have been too late all the same.
        assert kind == "ADDED" or taken[command_id]
        state = {"ADDED": "APPLIED", "CANCELLED": "CANCELLED"}[kind]
        for gateway in (client, there):
            assert (await end_of(gateway, command_id))["state"] == state
        contact = await client.execute(CONTACT, id=aggregate_id_of(command_id))
        assert (contact["data"]["contact"] is None) == (kind == "CANCELLED")
    # Around the due time: some of each, or nothing was raced.
    assert len(set(kinds.values())) == 2


async def test_a_cancel_while_the_broker_is_down_holds_though_the_due_time_passes(stack: Stack, client: Client) -> None:
    stack["broker"].kill()
    try:
        kept = await client.add("kept without broker")
        added = await client.add("cancelled without broker")
        await client.data(CANCEL, id=added["commandId"])
        loop = asyncio.get_running_loop()
        due = loop.time() + DELAY

        async def overdue() -> bool:
            return loop.time() > due

        await eventually(overdue, within=WITHIN, what="both are overdue")
        late = (await client.data(CANCEL, id=added["commandId"]))["cancelCommand"]
        assert late["status"] == "OK"
    finally:
        async with subscribed(stack.url) as notices:
            stack["broker"].start()
            seen = await notices.until_seen({kept["commandId"], added["commandId"]}, within=WITHIN)
    kinds = {notice["commandId"]: notice["kind"] for notice in seen}
    assert kinds == {kept["commandId"]: "ADDED", added["commandId"]: "CANCELLED"}
    assert (await end_of(client, added["commandId"]))["state"] == "CANCELLED"
    assert await client.code(CONTACT, id=added["contactId"]) == "NOT_FOUND"
