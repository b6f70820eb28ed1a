"""Each stand-in that knows only the contract in the place of one of ours: what works, and what is said to lack."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.clients import CONTACT, DELETE, UPDATE, Client, eventually, subscribed
from tests.support.probes import HOST, free_port, until
from tests.support.processes import Stack

DELAY = 0.3
WITHIN = 10.0


@contextmanager
def mix(foreign: str, **settings: object) -> Iterator[Stack]:
    """Our services, but for one."""
    with Stack(delay=DELAY, **settings) as stack:
        for role in ("broker", "database", "reader", "writer", "gateway"):
            if role == foreign:
                stack.foreign(role)
            else:
                getattr(stack, role)()
        stack.start(ready=False)
        if foreign != "writer":
            # What is sent once and never again is lost, as in the example, while nobody has subscribed.
            until(lambda: "ready: " in stack["writer"].log(), within=WITHIN, what="the writer has subscribed")
        yield stack


async def shows(client: Client, *names: str) -> None:
    """Waits until exactly these contacts are listed."""

    async def listed() -> bool:
        return sorted(await client.names()) == sorted(names)

    await eventually(listed, within=WITHIN, what=f"exactly {names} are listed")


async def notices_are_said_to_be_missing(stack: Stack, client: Client) -> None:
    """In /readyz, with its reason, and once in the gateway's log."""

    async def said() -> bool:
        readiness = await client.readiness()
        return readiness["status"] == "degraded" and "no notices" in readiness["notices"]["why"]

    await eventually(said, within=WITHIN, what="/readyz says that notices are missing")
    lines = [line for line in stack["gateway"].log().splitlines() if "no notices" in line]
    assert len(lines) == 1, lines


async def is_handed_over(client: Client, command_id: str) -> None:
    async def handed_over() -> bool:
        return await client.state(command_id) == "HANDED_OVER"

    await eventually(handed_over, within=WITHIN, what="the command is said to be handed over")


async def writes_and_reads_without_notices(stack: Stack) -> None:
    """Adds, renames and deletes by what is listed, as the example's users do; commands end as handed over."""
    async with Client(stack.url) as client:
        await notices_are_said_to_be_missing(stack, client)
        added = await client.add("Ada")
        assert (added["status"], added["message"]) == ("OK", "Queued to add")
        assert added["contactId"] is None, "which id it gets is the foreign database's to say"
        await shows(client, "Ada")
        await is_handed_over(client, added["commandId"])
        (contact,) = (await client.data("{ listContacts(count: 10) { id name } }"))["listContacts"]
        assert (await client.data(CONTACT, id=contact["id"]))["contact"]["name"] == "Ada"

        renamed = (await client.data(UPDATE, id=contact["id"], name="Grace"))["updateContact"]
        assert renamed["message"] == "Queued to update"
        await shows(client, "Grace")
        deleted = (await client.data(DELETE, id=contact["id"]))["deleteContact"]
        assert deleted["message"] == "Queued to delete"
        await shows(client)
        assert await client.code(CONTACT, id=contact["id"]) == "NOT_FOUND"
        await is_handed_over(client, deleted["commandId"])
        await notices_are_said_to_be_missing(stack, client)


async def test_beside_a_foreign_database_all_works_but_notices() -> None:
    with mix("database") as stack:
        await writes_and_reads_without_notices(stack)


async def test_beside_a_foreign_reader_all_works_but_notices() -> None:
    with mix("reader") as stack:
        await writes_and_reads_without_notices(stack)


async def test_beside_a_foreign_writer_commands_take_effect_once_and_are_noticed() -> None:
    with mix("writer", single_messages=True) as stack:
        async with Client(stack.url) as client, subscribed(stack.url) as notices:
            added = await client.add("Ada")
            (notice,) = await notices.until_seen({added["commandId"]}, within=WITHIN)
            assert (notice["kind"], notice["contactId"]) == ("ADDED", added["contactId"])
            renamed = (await client.data(UPDATE, id=added["contactId"], name="Grace"))["updateContact"]
            deleted = (await client.data(DELETE, id=added["contactId"]))["deleteContact"]
            more = await asyncio.gather(*(client.add(f"contact {number}") for number in range(5)))
            seen = await notices.until_seen({each["commandId"] for each in (renamed, deleted, *more)}, within=WITHIN)
            assert len(seen) == 7
            assert await client.state(deleted["commandId"]) == "APPLIED"
            assert sorted(await client.names()) == [f"contact {number}" for number in range(5)]


async def test_beside_a_foreign_gateway_bare_messages_get_their_ids_and_take_effect() -> None:
    with mix("gateway") as stack:
        async with Client(stack.url) as client:
            added = await client.data('mutation { addContact(name: "Ada") { status message } }')
            assert added == {"addContact": {"status": "OK", "message": "Queued to add"}}
            await shows(client, "Ada")
            (contact,) = (await client.data("{ listContacts(count: 10) { id name last_updated } }"))["listContacts"]
            assert contact["id"]
            assert contact["last_updated"] != "seconds:0"
            await client.data('mutation($id: String!) { updateContact(id: $id, name: "Grace") { status } }', **contact)
            await shows(client, "Grace")
            await client.data("mutation($id: String!) { deleteContact(id: $id) { status } }", **contact)
            await shows(client)


async def test_what_a_foreign_gateway_sends_is_noticed_by_subscribers_of_ours() -> None:
    foreign = f"{HOST}:{free_port()}"
    with Stack(delay=DELAY) as stack:
        stack.foreign("gateway", name="foreign gateway", address=foreign)
        stack.start_ring()
        async with Client(f"http://{foreign}") as client, subscribed(stack.url) as notices:
            await client.data('mutation { addContact(name: "Ada") { status message } }')
            notice = await notices.next(within=WITHIN)
    assert (notice["kind"], notice["contact"]["name"]) == ("ADDED", "Ada")
    assert notice["commandId"]
    assert notice["contactId"]
