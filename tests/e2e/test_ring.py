"""The whole ring in one process: alone, several on one PostgreSQL, and in the place of broker and services."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients import ADD, UPDATE, Client, eventually, subscribed
from tests.support.postgresql import Cluster
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack, run_manage

# Long enough that what was accepted waits when its process is killed.
DELAY = 1.5
MANY = 20


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        yield stack


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    server = Cluster()
    server.start()
    yield server
    server.close()


async def send(client: Client) -> dict[str, str]:
    """Adds contacts and renames each; the ids of all commands by the name that they give."""
    commands = {}
    for number in range(MANY):
        added = (await client.data(ADD, name=f"first {number}"))["addContact"]
        renamed = (await client.data(UPDATE, id=added["contactId"], name=f"last {number}"))["updateContact"]
        commands |= {f"first {number}": added["commandId"], f"last {number}": renamed["commandId"]}
    return commands


async def assert_applied_once_and_in_order(url: str, commands: dict[str, str]) -> None:
    async with subscribed(url, afterPosition="0") as notices:
        seen = await notices.until_seen(set(commands.values()), within=30)
    assert sorted(notice["commandId"] for notice in seen) == sorted(commands.values())
    assert [notice["contact"]["version"] for notice in seen if notice["kind"] == "UPDATED"] == [2] * MANY
    async with Client(url) as client:
        assert sorted(await client.names()) == sorted(f"last {number}" for number in range(MANY))
        assert await client.state(next(iter(commands.values()))) == "APPLIED"


async def test_commands_take_effect_with_neither_broker_nor_services(stack: Stack) -> None:
    stack.ring()
    stack.start()
    async with Client(stack.url) as client:
        assert (await client.readiness())["writer"] == {"ok": True}
        await assert_applied_once_and_in_order(stack.url, await send(client))
    assert "Traceback" not in stack["ring"].log()


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_what_waits_when_its_process_ends_takes_effect_in_the_next(stack: Stack, end: str) -> None:
    ring = stack.ring()
    stack.start()
    async with Client(stack.url) as client:
        commands = await send(client)
    getattr(ring, end)()
    stack.start()
    await assert_applied_once_and_in_order(stack.url, commands)


async def test_broker_and_services_take_over_what_a_ring_left_and_a_ring_what_they_left(stack: Stack) -> None:
    ring = stack.ring()
    stack.start()
    async with Client(stack.url) as client:
        commands = await send(client)
    ring.kill()
    del stack.services["ring"]
    stack.start_ring()
    await assert_applied_once_and_in_order(stack.url, commands)

    async with Client(stack.url) as client:
        added = await client.add("left by the services")
    for service in stack.services.values():
        service.kill()
    stack.services.clear()
    stack.ring()
    stack.start()
    async with subscribed(stack.url, afterPosition="0") as notices:
        seen = await notices.until_seen({added["commandId"]}, within=30)
    assert len(seen) == 2 * MANY + 1


async def test_a_reset_database_gets_back_what_the_journal_holds_without_broker_and_services(stack: Stack) -> None:
    ring = stack.ring()
    stack.start()
    async with Client(stack.url) as client:
        commands = await send(client)
        await assert_applied_once_and_in_order(stack.url, commands)
    ring.terminate()
    for file in stack.var.glob("contacts.sqlite3*"):
        file.unlink()
    run_manage(stack, "migrate", "--database", "contacts", "--verbosity", "0")
    stack.start(ready=False)
    async with Client(stack.url) as client:

        async def is_recognised() -> bool:
            return "it was reset" in (await client.readiness())["history"].get("why", "")

        await eventually(is_recognised, within=20, what="the reset is recognised")
        assert await client.names() == []
        told = run_manage(stack, "replaycommands", "--ring").stdout
        assert f"replayed: {2 * MANY} commands" in told
        await eventually(client.is_whole, within=20, what="/readyz says ready")
        assert sorted(await client.names()) == sorted(f"last {number}" for number in range(MANY))


async def test_two_on_one_postgresql_see_each_others_commands_and_finish_them(server: Cluster) -> None:
    url = server.create_database()
    with Stack(delay=DELAY, migrated=False, journal_url=url, database_url=url) as stack:
        run_manage(stack, "migrate", "--verbosity", "0")
        other = f"{HOST}:{free_port()}"
        ring = stack.ring()
        stack.ring("other", address=other)
        stack.start()
        async with Client(stack.url) as client, subscribed(f"http://{other}") as elsewhere:
            added = await client.add("Ada")
            (notice,) = await elsewhere.until_seen({added["commandId"]})
            assert notice["contact"]["name"] == "Ada"
            gone = await client.data(
                "mutation($id: String!) { deleteContact(id: $id) { commandId } }", id=added["contactId"]
            )
            await elsewhere.until_seen({gone["deleteContact"]["commandId"]})
            commands = await send(client)
        ring.kill()
        async with Client(f"http://{other}") as client:

            async def are_applied() -> bool:
                return sorted(await client.names()) == sorted(f"last {number}" for number in range(MANY))

            await eventually(are_applied, within=30, what="the other finishes what was left")
        async with subscribed(f"http://{other}", afterPosition="0") as notices:
            seen = await notices.until_seen(set(commands.values()))
        assert len(seen) == len(commands) + 2
