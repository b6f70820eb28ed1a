"""Idempotency keys: the same key and arguments give the same answer and one effect, through whichever gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from protocol.ids import aggregate_id_of, new_command_id
from tests.e2e.clients import Client, Json, eventually, subscribed
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack

ADD_BY_KEY = """mutation($key: String, $name: String!) {
  addContact(name: $name, commandId: $key) { status message commandId contactId takesEffectAt takesEffectInMs } }"""
UPDATE_BY_KEY = """mutation($key: String, $id: String!, $name: String!, $version: Int) {
  updateContact(id: $id, name: $name, commandId: $key, expectedVersion: $version) {
    status message commandId contactId takesEffectAt } }"""
DELETE_BY_KEY = """mutation($key: String, $id: String!, $version: Int) {
  deleteContact(id: $id, commandId: $key, expectedVersion: $version) { status message commandId contactId } }"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.3) as stack:
        stack.address["second"] = f"{HOST}:{free_port()}"
        stack.gateway("second", address=stack.address["second"])
        yield stack.start_ring()


@pytest.fixture
async def there(stack: Stack) -> AsyncIterator[Client]:
    """A client of the second gateway."""
    async with Client(f"http://{stack.address['second']}") as client:
        yield client


def without_time_left(answer: Json) -> Json:
    return {key: value for key, value in answer.items() if key != "takesEffectInMs"}


async def has_ended(client: Client, command_id: str) -> Json:
    async def ended() -> bool:
        return (await client.command(command_id))["settledAt"] is not None

    await eventually(ended, within=10, what=f"command {command_id} has ended")
    return await client.command(command_id)


async def assert_one_effect(stack: Stack, key: str, name: str) -> None:
    """Of this key there is one notice, and of this name one contact; nothing more comes of it."""
    async with Client(stack.url) as client, subscribed(stack.url, afterPosition="0") as notices:
        # What is accepted after it takes effect after it: so nothing of the key is still to come.
        last = await client.add("accepted after it")
        seen = await notices.until_seen({last["commandId"]})
        assert sum(notice["commandId"] == key for notice in seen) == 1
        assert (await client.names()).count(name) == 1


async def test_the_same_key_gives_the_same_answer_through_another_gateway_and_after_it_settled(
    stack: Stack, client: Client, there: Client
) -> None:
    key = new_command_id()
    first = (await client.data(ADD_BY_KEY, key=key, name=" once "))["addContact"]
    assert (first["commandId"], first["contactId"]) == (key, aggregate_id_of(key))
    at_once = (await there.data(ADD_BY_KEY, key=key, name="once"))["addContact"]
    assert (await has_ended(there, key))["state"] == "APPLIED"
    later = (await there.data(ADD_BY_KEY, key=key, name="once"))["addContact"]
    assert without_time_left(first) == without_time_left(at_once) == without_time_left(later)
    assert later["takesEffectInMs"] == 0
    await assert_one_effect(stack, key, "once")


async def test_a_delete_by_key_is_answered_the_same_though_its_contact_is_gone(client: Client, there: Client) -> None:
    added = await client.add("deleted by key")
    key = new_command_id()
    first = (await client.data(DELETE_BY_KEY, key=key, id=added["contactId"]))["deleteContact"]
    assert (await has_ended(client, key))["state"] == "APPLIED"
    assert (await there.data(DELETE_BY_KEY, key=key, id=added["contactId"]))["deleteContact"] == first


async def test_the_same_key_with_other_arguments_is_an_error_that_tells_nothing_of_those(
    client: Client, there: Client
) -> None:
    added = await client.add("of a key")
    key = new_command_id()
    given = {"key": key, "id": added["contactId"], "name": "first", "version": 1}
    await client.data(UPDATE_BY_KEY, **given)

    for changed in ({"name": "second"}, {"version": 2}, {"version": None}, {"id": aggregate_id_of("another")}):
        for gateway in (client, there):
            (error,) = (await gateway.execute(UPDATE_BY_KEY, **given | changed))["errors"]
            assert error["extensions"]["code"] == "CONFLICT"
            assert error["message"] == f"command id {key} was used before with other arguments"
    (error,) = (await there.execute(DELETE_BY_KEY, key=key, id=added["contactId"], version=1))["errors"]
    assert error["extensions"]["code"] == "CONFLICT"
    assert error["message"] == f"command id {key} was used before with other arguments"

    assert (await has_ended(client, key))["state"] == "APPLIED"
    assert await there.code(UPDATE_BY_KEY, **given | {"name": "second"}) == "CONFLICT"


async def test_two_gateways_that_get_the_same_key_at_the_same_instant_make_one_effect(
    stack: Stack, client: Client, there: Client
) -> None:
    key = new_command_id()
    answers = await asyncio.gather(
        *(gateway.data(ADD_BY_KEY, key=key, name="raced") for _ in range(10) for gateway in (client, there))
    )
    first, *others = (without_time_left(answer["addContact"]) for answer in answers)
    assert all(other == first for other in others)
    assert (await has_ended(client, key))["state"] == "APPLIED"
    await assert_one_effect(stack, key, "raced")


async def test_two_gateways_that_get_one_key_with_two_names_take_one_of_them(
    stack: Stack, client: Client, there: Client
) -> None:
    key = new_command_id()
    answers = await asyncio.gather(
        client.execute(ADD_BY_KEY, key=key, name="this name"), there.execute(ADD_BY_KEY, key=key, name="that name")
    )
    refused = [answer for answer in answers if "errors" in answer]
    assert len(refused) == 1, answers
    assert refused[0]["errors"][0]["extensions"]["code"] == "CONFLICT"
    taken = "that name" if "errors" in answers[0] else "this name"
    await has_ended(client, key)
    await assert_one_effect(stack, key, taken)


async def test_a_stale_expected_version_is_rejected_with_the_current_one(client: Client, there: Client) -> None:
    added = await client.add("versioned")
    fresh = (await client.data(UPDATE_BY_KEY, id=added["contactId"], name="second", version=1))["updateContact"]
    stale = (await there.data(UPDATE_BY_KEY, id=added["contactId"], name="lost", version=1))["updateContact"]
    deletion = (await there.data(DELETE_BY_KEY, id=added["contactId"], version=1))["deleteContact"]

    assert (await has_ended(client, fresh["commandId"]))["version"] == 2
    for rejected in (stale, deletion):
        command = await has_ended(client, rejected["commandId"])
        assert (command["state"], command["reason"], command["version"]) == ("REJECTED", "CONFLICT", 2)
        assert "2" in command["message"]
        assert "1" in command["message"]
        print(command["message"])
    contact = (await client.data("query($id: String!) { contact(id: $id) { name version } }", id=added["contactId"]))[
        "contact"
    ]
    assert contact == {"name": "second", "version": 2}
