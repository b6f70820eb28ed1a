"""A database that was restored from a backup, or reset: recognised, said loudly, and healed from the journal."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from cqrs.store.models import ParkedCommand
from protocol.ids import new_command_id
from tests.e2e.altered import program
from tests.e2e.clients import DELETE, UPDATE, Client, Json, Notices, eventually, subscribed
from tests.support.probes import HOST, free_port
from tests.support.processes import Stack, run_manage

DELAY = 0.3
# Seconds in which gateways have noticed what happened, or gone on.
WITHIN = 10.0

CONTACTS = "{ listContacts(count: 1000) { id name version } }"
ADD_BY_KEY = "mutation($key: String, $name: String!) { addContact(name: $name, commandId: $key) { status commandId } }"


@pytest.fixture
def stack() -> Iterator[Stack]:
    """The ring with two gateways."""
    with Stack(delay=DELAY) as stack:
        stack.address["second"] = f"{HOST}:{free_port()}"
        stack.gateway("second", address=stack.address["second"])
        yield stack.start_ring()


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def gateways(stack: Stack) -> AsyncIterator[tuple[Client, Client]]:
    async with AsyncExitStack() as opened:
        first, second = Client(stack.url), Client(f"http://{stack.address['second']}")
        yield await opened.enter_async_context(first), await opened.enter_async_context(second)


def database(stack: Stack) -> Path:
    return stack.var / "contacts.sqlite3"


def copy(source: Path, target: Path) -> None:
    """A copy of a database that may be in use."""
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)


def remove(path: Path) -> None:
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        each.unlink(missing_ok=True)


async def settled(client: Client, *answers: Json) -> None:
    """Waits until these commands have ended."""

    async def all_have() -> bool:
        commands = [await client.command(answer["commandId"]) for answer in answers]
        return all(command["settledAt"] for command in commands)

    await eventually(all_have, within=WITHIN, what="the commands have ended")


async def contacts(client: Client) -> list[Json]:
    listed: list[Json] = (await client.data(CONTACTS))["listContacts"]
    return listed


async def change(client: Client, document: str, **variables: object) -> Json:
    (answer,) = (await client.data(document, **variables)).values()
    assert answer["status"] == "OK"
    return answer


async def recognised(client: Client, says: str) -> None:
    async def is_said() -> bool:
        readiness = await client.readiness()
        return readiness["status"] == "degraded" and says in readiness["history"].get("why", "")

    await eventually(is_said, within=WITHIN, what=f"/readyz says that the history {says}")


async def whole(*clients: Client) -> None:
    for client in clients:
        await eventually(client.is_whole, within=WITHIN, what="/readyz says that all is well")


async def is_told_to_read_afresh(notices: Notices) -> None:
    """Skips what still arrives; then the subscription ends with the error that says so."""
    async with asyncio.timeout(WITHIN):
        while True:
            message = json.loads(await notices._socket.recv())
            if message["type"] == "error" or "errors" in message.get("payload", {}):
                break
    assert "POSITION_UNKNOWN" in json.dumps(message)


async def notices_of(url: str) -> list[Json]:
    """All notices of the history, up to that of a command of ours."""
    async with Client(url) as client, subscribed(url, afterPosition="0") as notices:
        last = await client.add("the end")
        seen = await notices.until_seen({last["commandId"]})
        return seen[:-1]


def replayed_in_order(history: list[Json], again: list[Json]) -> None:
    """Every effect of the history before is in the history after, in the same order, and nothing is twice."""
    ids = [notice["commandId"] for notice in again]
    assert len(set(ids)) == len(ids)
    effects = [notice["commandId"] for notice in history if notice["kind"] in ("ADDED", "UPDATED", "DELETED")]
    assert [command_id for command_id in ids if command_id in set(effects)] == effects


async def test_a_restored_backup_is_recognised_and_gets_back_what_it_lost_in_order_and_once(
    stack: Stack, gateways: tuple[Client, Client], opened: AsyncExitStack
) -> None:
    first, second = gateways
    kept = [await first.add(f"kept {number}") for number in range(5)]
    await settled(first, *kept)
    backup = stack.folder / "backup.sqlite3"
    copy(database(stack), backup)

    # What the backup lacks: adds, updates of both old and new contacts, a delete, a rejection.
    added = [await gateways[number % 2].add(f"added {number}") for number in range(40)]
    renamed = []
    for round_ in range(3):
        for number, contact in enumerate((*kept, *added[:10])):
            renamed.append(
                await change(gateways[number % 2], UPDATE, id=contact["contactId"], name=f"{number} renamed {round_}")
            )
    deleted = await change(second, DELETE, id=added[20]["contactId"])
    rejected = await change(first, DELETE, id=added[20]["contactId"])
    await settled(first, *added, *renamed, deleted, rejected)
    assert await first.state(rejected["commandId"]) == "REJECTED"
    before = await contacts(first)
    history = await notices_of(stack.url)
    position = history[-1]["position"]
    end = [contact for contact in await contacts(first) if contact["name"] == "the end"]

    watching = await opened.enter_async_context(subscribed(stack.url))
    # A command is under way while the database is away: it must not come before what the backup lacks.
    stack["database"].terminate()
    late = await change(first, UPDATE, id=added[0]["contactId"], name="renamed while it was away")
    remove(database(stack))
    copy(backup, database(stack))
    stack["database"].start()

    for gateway in gateways:
        await recognised(gateway, "restored from a backup")
    assert "not the one that was followed" in stack["gateway"].log()
    assert "not the one that was followed" in stack["second"].log()
    answer = await change(second, UPDATE, id=added[1]["contactId"], name="renamed in the pause")
    new = await first.add("added in the pause")
    assert {contact["name"] for contact in await contacts(first)} == {f"kept {number}" for number in range(5)}
    # Who watched is told to read afresh, and so is who comes back.
    await is_told_to_read_afresh(watching)
    async with subscribed(stack.url, afterPosition=position) as resumed:
        await is_told_to_read_afresh(resumed)
    # A start of one of them changes nothing about it.
    stack["second"].kill()
    stack["second"].start()
    await recognised(second, "restored from a backup")
    for waiting in (late, answer, new):
        assert await second.state(waiting["commandId"]) == "QUEUED"

    told = run_manage(stack, "replaycommands", "--dry-run").stdout
    # The one to whose notice the history was read is the last of the adds.
    assert f"to be replayed: {len(added) + len(renamed) + 2} commands" in told
    assert "to be made known: 1 commands" in told
    assert "to be sent after it: 3 commands" in told
    run_manage(stack, "replaycommands")
    await whole(*gateways)
    await settled(second, late, answer, new)
    for command in (late, answer, new):
        assert await second.state(command["commandId"]) == "APPLIED"

    expected = {contact["id"]: (contact["name"], contact["version"]) for contact in (*before, *end)}
    for command, name in ((late, "renamed while it was away"), (answer, "renamed in the pause")):
        contact_id = command["contactId"]
        expected[contact_id] = (name, expected[contact_id][1] + 1)
    expected[new["contactId"]] = ("added in the pause", 1)
    after = {contact["id"]: (contact["name"], contact["version"]) for contact in await contacts(first)}
    assert after == expected
    assert [contact["id"] for contact in await contacts(first)] == list(expected), "listed in the order of old"

    # Everything once, in the order first applied; what was rejected stays so, and had no effect.
    replayed_in_order(history, await notices_of(stack.url))
    assert await second.state(rejected["commandId"]) == "REJECTED"
    # Begun again it finds nothing to do.
    assert "nothing to replay" in run_manage(stack, "replaycommands").stdout


async def test_a_reset_database_gets_back_all_that_the_journal_holds(
    stack: Stack, gateways: tuple[Client, Client]
) -> None:
    first, second = gateways
    added = [await first.add(f"added {number}") for number in range(20)]
    renamed = [await change(second, UPDATE, id=each["contactId"], name=f"renamed {n}") for n, each in enumerate(added)]
    await settled(first, *added, *renamed)
    history = await notices_of(stack.url)
    before = await contacts(first)

    stack["database"].terminate()
    remove(database(stack))
    run_manage(stack, "migrate", "--database", "contacts", "--verbosity", "0")
    stack["database"].start()
    for gateway in gateways:
        await recognised(gateway, "reset")
    assert await contacts(first) == []

    run_manage(stack, "replaycommands")
    await whole(*gateways)
    assert await contacts(first) == before
    replayed_in_order(history, await notices_of(stack.url))


async def test_an_operator_can_say_to_go_on_without_what_was_lost(
    stack: Stack, gateways: tuple[Client, Client]
) -> None:
    first, second = gateways
    lost = await first.add("lost")
    await settled(first, lost)
    stack["database"].terminate()
    remove(database(stack))
    run_manage(stack, "migrate", "--database", "contacts", "--verbosity", "0")
    stack["database"].start()
    await recognised(second, "reset")
    new = await second.add("new")
    run_manage(stack, "replaycommands", "--none")
    await whole(*gateways)
    await settled(first, new)
    assert [contact["name"] for contact in await contacts(first)] == ["new"]
    assert await first.state(lost["commandId"]) == "APPLIED", "what was once said settled is never said otherwise"


async def test_the_right_database_put_back_is_followed_again(stack: Stack, gateways: tuple[Client, Client]) -> None:
    first, second = gateways
    added = await first.add("in the right one")
    await settled(first, added)
    aside = stack.folder / "right.sqlite3"
    stack["database"].terminate()
    copy(database(stack), aside)
    remove(database(stack))
    run_manage(stack, "migrate", "--database", "contacts", "--verbosity", "0")
    stack["database"].start()
    for gateway in gateways:
        await recognised(gateway, "reset")
    waiting = await change(second, UPDATE, id=added["contactId"], name="renamed in the pause")

    stack["database"].terminate()
    remove(database(stack))
    copy(aside, database(stack))
    stack["database"].start()
    await whole(*gateways)
    await settled(first, waiting)
    assert [contact["name"] for contact in await contacts(first)] == ["renamed in the pause"]


async def test_a_new_journal_follows_the_database_and_a_key_that_only_the_database_knows_has_no_second_effect(
    stack: Stack, gateways: tuple[Client, Client]
) -> None:
    first, second = gateways
    key = new_command_id()
    added = await change(first, ADD_BY_KEY, key=key, name="once")
    await settled(first, added)
    position = (await notices_of(stack.url))[-1]["position"]

    for name in ("gateway", "second"):
        stack[name].terminate()
    journal = stack.var / "gateway.sqlite3"
    remove(journal)
    run_manage(stack, "migrate", "--verbosity", "0")
    for name in ("gateway", "second"):
        stack[name].start()
    await whole(*gateways)

    async with subscribed(stack.url, afterPosition=position) as resumed:
        again = await change(second, ADD_BY_KEY, key=key, name="once")
        await settled(second, again)
        assert await second.state(key) == "APPLIED"
        last = await first.add("after it")
        seen = await resumed.until_seen({last["commandId"]})
    assert key not in [notice["commandId"] for notice in seen]
    names = [contact["name"] for contact in await contacts(first)]
    assert names.count("once") == 1


async def test_an_older_journal_hears_of_what_the_database_has_done_since(
    stack: Stack, gateways: tuple[Client, Client]
) -> None:
    first, _ = gateways
    # Long enough for the copy to have it queued: nobody applies it before it is copied.
    stack["writer"].kill()
    added = await first.add("queued in the backup")
    backup = stack.folder / "journal.sqlite3"
    copy(stack.var / "gateway.sqlite3", backup)
    stack["writer"].start()
    await settled(first, added)
    later = await first.add("not in the backup")
    await settled(first, later)

    for name in ("gateway", "second"):
        stack[name].terminate()
    remove(stack.var / "gateway.sqlite3")
    copy(backup, stack.var / "gateway.sqlite3")
    for name in ("gateway", "second"):
        stack[name].start()
    await whole(*gateways)
    await settled(first, added)
    assert await first.state(added["commandId"]) == "APPLIED"
    assert {contact["name"] for contact in await contacts(first)} == {"queued in the backup", "not in the backup"}


# As an operator would in the admin.
DISCARD_WHAT_FAILED = """
import contacts_write
from cqrs.store.models import ParkedCommand
from protocol.cqrs_command_pb2 import Command
for row in ParkedCommand.objects.filter(behind=""):
    contacts_write.discard_command(Command.FromString(bytes(row.payload)), row.notice, actor="grace")
"""


async def test_what_an_operator_discarded_stays_so_and_what_was_behind_it_follows_again() -> None:
    with Stack(delay=DELAY) as stack:
        stack.broker(), stack.reader(), stack.writer(), stack.gateway()
        stack.database().command = program("defective_database", "rundatabase")
        stack.start()
        async with Client(stack.url) as client:
            added = [await client.add("Ada"), await client.add("Bob")]
            await settled(client, *added)
            discarded: list[Json] = []
            behind: list[Json] = []
            backup = stack.folder / "backup.sqlite3"
            for contact_id in (answer["contactId"] for answer in added):
                # Of the second contact after the backup, so that it knows nothing of them.
                if discarded:
                    copy(database(stack), backup)
                discarded.append(await change(client, UPDATE, id=contact_id, name="defect"))
                behind.append(await change(client, UPDATE, id=contact_id, name="behind it"))
                await in_state(client, "PARKED", discarded[-1], behind[-1])
            run_manage(stack, "shell", "-c", DISCARD_WHAT_FAILED)
            await in_state(client, "DISCARDED", *discarded)
            await in_state(client, "APPLIED", *behind)
            before = await contacts(client)

            stack["database"].terminate()
            remove(database(stack))
            copy(backup, database(stack))
            stack["database"].start()
            await recognised(client, "restored from a backup")
            assert await contacts(client) != before
            run_manage(stack, "replaycommands")
            await whole(client)

            assert await contacts(client) == before
            await in_state(client, "DISCARDED", *discarded)
            await in_state(client, "APPLIED", *behind)
            ends = [notice for notice in await notices_of(stack.url) if notice["kind"] != "PARKED"]
            told = [notice["commandId"] for notice in ends]
            for one, other in zip(discarded, behind, strict=True):
                assert told.count(one["commandId"]) == told.count(other["commandId"]) == 1
                assert told.index(one["commandId"]) < told.index(other["commandId"])
            with closing(sqlite3.connect(database(stack))) as stored:
                assert stored.execute(f"SELECT count(*) FROM {ParkedCommand._meta.db_table}").fetchone() == (0,)


async def in_state(client: Client, state: str, *answers: Json) -> None:
    async def all_are() -> bool:
        return {await client.state(answer["commandId"]) for answer in answers} == {state}

    await eventually(all_are, within=WITHIN, what=f"all are {state}")


async def test_a_memory_store_that_was_restarted_just_goes_on() -> None:
    with Stack(delay=DELAY) as stack:
        stack.broker(), stack.database("--memory"), stack.reader(), stack.writer(), stack.gateway()
        stack.start()
        async with Client(stack.url) as client:
            await settled(client, await client.add("forgotten"))
            stack["database"].kill()
            stack["database"].start()
            await whole(client)
            added = await client.add("after it")
            await settled(client, added)
            assert [contact["name"] for contact in await contacts(client)] == ["after it"]
        assert "ERROR" not in stack["gateway"].log()
