"""A full disk, under the journal and under the database: a clear error, nothing accepted is lost, it mends itself.

The disk of one process is full when it may write no file beyond the first few kilobytes (RLIMIT_FSIZE). Where it may be
mounted, there is also a small disk that both share, and that is full for both at once.
"""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from cqrs.journal.models import Command
from cqrs.store.models import ParkedCommand
from tests.e2e.clients import ADD, LIST_CONTACTS, Client, Json, eventually, subscribed
from tests.support.processes import Service, Stack

if sys.platform != "linux":
    pytest.skip("the limits of another process can be set on Linux alone", allow_module_level=True)

DELAY = 0.2
WITHIN = 10.0
# What a file may have, in bytes: less than what the databases need, more than the logs of these processes.
FULL = 16 * 1024


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        yield stack.start_ring()


@contextlib.contextmanager
def full_disk(service: Service) -> Iterator[None]:
    """The service can write nothing within the context."""
    _, most = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (FULL, most))
    try:
        yield
    finally:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (most, most))


def parked(stack: Stack) -> int:
    with closing(sqlite3.connect(stack.var / "contacts.sqlite3")) as database:
        return int(database.execute(f"SELECT COUNT(*) FROM {ParkedCommand._meta.db_table}").fetchone()[0])


async def test_a_full_disk_under_the_journal_refuses_and_loses_nothing_that_was_accepted(
    stack: Stack, client: Client
) -> None:
    async with subscribed(stack.url) as notices:
        accepted = {(await client.add(f"before {number}"))["commandId"] for number in range(10)}
        with full_disk(stack["gateway"]):
            for number in range(1000):
                answer = await client.execute(ADD, name=f"meanwhile {number}")
                if "errors" in answer:
                    break
                accepted.add(answer["data"]["addContact"]["commandId"])
            (error,) = answer["errors"]
            print(error["message"])
            assert error["extensions"]["code"] == "UNAVAILABLE"
            assert error["message"].startswith("the journal cannot be written: ")
            # Reading goes on, and so does what was accepted, though its end cannot be recorded.
            await client.data(LIST_CONTACTS)
            seen = await notices.until_seen(accepted, within=WITHIN)
            for command_id in accepted:
                assert await client.state(command_id) == "APPLIED"

        async def accepts() -> bool:
            answer = await client.execute(ADD, name="accepted again")
            if "errors" not in answer:
                accepted.add(answer["data"]["addContact"]["commandId"])
            return "errors" not in answer

        await eventually(accepts, within=WITHIN, what="mutations are accepted again")
        seen += await notices.until_seen(accepted - {notice["commandId"] for notice in seen}, within=WITHIN)
    assert [notice["commandId"] for notice in seen if notice["commandId"] not in accepted] == []
    assert len(seen) == len(accepted)
    assert len(await client.names()) == len(accepted)
    assert_told_briefly(stack["gateway"].log(), "the journal cannot be written")

    async def recorded() -> bool:
        with closing(sqlite3.connect(stack.var / "gateway.sqlite3")) as database:
            states = database.execute(f"SELECT DISTINCT state FROM {Command._meta.db_table}").fetchall()
        return states == [("APPLIED",)]

    await eventually(recorded, within=WITHIN, what="all ends are in the journal")


async def test_a_full_disk_under_the_database_parks_nothing_and_loses_nothing(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        with full_disk(stack["database"]):
            accepted = {(await client.add(f"full database {number}"))["commandId"] for number in range(30)}

            async def said() -> bool:
                return "the database cannot be used" in stack["database"].log()

            await eventually(said, within=WITHIN, what="the database service says what is wrong")
            await eventually(
                lambda: is_waiting(stack), within=WITHIN, what="the writer says that it waits for the database service"
            )
            more = {(await client.add(f"still full {number}"))["commandId"] for number in range(5)}
            # Reading goes on.
            await client.data(LIST_CONTACTS)
            assert {await client.state(command_id) for command_id in more} == {"QUEUED"}
            assert parked(stack) == 0
        accepted |= more
        seen = await notices.until_seen(accepted, within=WITHIN)
    assert len(seen) == len(accepted)
    assert {notice["kind"] for notice in seen} == {"ADDED"}
    assert parked(stack) == 0
    assert_told_briefly(stack["database"].log(), "apply_incoming: the database cannot be used")
    assert_told_briefly(stack["writer"].log(), "UNAVAILABLE: the database cannot be used")


@pytest.fixture
def small_disk() -> Iterator[Stack]:
    """A ring on a disk of its own, of 4 MiB."""
    with Stack(delay=DELAY) as stack:
        kept = stack.folder / "kept"
        stack.var.rename(kept)
        stack.var.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(stack.var)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no disk can be mounted")
        try:
            shutil.copytree(kept, stack.var, dirs_exist_ok=True)
            yield stack.start_ring()
        finally:
            for service in stack.services.values():
                service.kill()
            subprocess.run(["umount", str(stack.var)], check=True)


async def test_a_disk_that_is_full_for_all_is_told_and_goes_on_once_there_is_room(small_disk: Stack) -> None:
    stack, ballast = small_disk, small_disk.var / "ballast"
    async with Client(stack.url) as client, subscribed(stack.url) as notices:
        accepted = {(await client.add("before"))["commandId"]}
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        answer: Json = {}
        for number in range(1000):
            answer = await client.execute(ADD, name=f"meanwhile {number}")
            if "errors" in answer:
                break
            accepted.add(answer["data"]["addContact"]["commandId"])
        print(answer["errors"][0]["message"])
        assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        await client.data(LIST_CONTACTS)
        ballast.unlink()

        async def accepts() -> bool:
            answer = await client.execute(ADD, name="accepted again")
            if "errors" not in answer:
                accepted.add(answer["data"]["addContact"]["commandId"])
            return "errors" not in answer

        await eventually(accepts, within=WITHIN, what="mutations are accepted again")
        seen = await notices.until_seen(accepted, within=WITHIN)
        assert len(seen) == len(accepted) == len(await client.names())
    assert {notice["kind"] for notice in seen} == {"ADDED"}
    assert parked(stack) == 0
    for service in stack.services.values():
        assert "Traceback" not in service.log()


async def is_waiting(stack: Stack) -> bool:
    return "UNAVAILABLE: the database cannot be used" in stack["writer"].log()


def assert_told_briefly(log: str, words: str) -> None:
    """It is said, once each time it begins: a small write may still fit now and then."""
    assert "Traceback" not in log
    lines = [line for line in log.splitlines() if words in line]
    assert 1 <= len(lines) <= 10, "\n".join(lines)
