"""`manage.py runstack`: all services by one command, those that die restarted, none left behind."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing

import httpx
import pytest

from tests.e2e.clients import Client, eventually, subscribed
from tests.support.probes import is_whole, until
from tests.support.processes import Service, Stack, manage

NAMES = ("broker", "database", "reader", "writer", "gateway")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    # Not migrated: the command sees to that itself.
    with Stack(delay=0.2, migrated=False) as stack:
        stack.add("runstack", manage("runstack"), ready=lambda: is_whole(stack.url))
        yield stack.start()


@pytest.fixture
def pair() -> Iterator[Stack]:
    """Two gateways at one address."""
    with Stack(delay=0.2) as stack:
        stack.add("runstack", manage("runstack", "--gateways", "2"), ready=lambda: is_whole(stack.url))
        stack.start()
        until(lambda: len(serving(stack["runstack"])) == 2, within=10, what="both serve", show=stack["runstack"].log)
        yield stack


def serving(runstack: Service) -> list[str]:
    """The gateways by name, once for each time that they began to serve."""
    return re.findall(r"^(gateway\S*) .*the gateway serves on", runstack.log(), re.MULTILINE)


def owners(stack: Stack) -> list[int]:
    """The processes whose commands are in the journal."""
    with closing(sqlite3.connect(stack.var / "gateway.sqlite3")) as database:
        found = database.execute("SELECT DISTINCT owner FROM cqrs_command").fetchall()
    return [int(owner.rsplit("-", 2)[1]) for (owner,) in found]


async def one_request_a_connection(stack: Stack, name: str) -> str:
    """The id of a command that whichever gateway takes the connection has accepted."""
    async with Client(stack.url) as client:
        command_id: str = (await client.add(name))["commandId"]
        return command_id


def services(stack: Stack) -> dict[str, int]:
    """The process of each service that the command started, by name."""
    found = {}
    for pid in stack.pids():
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = re.search(rb"\0run(\w+)", file.read())
        if command and pid != stack["runstack"].pid:
            found[command.group(1).decode()] = pid
    return found


def test_it_starts_all_and_prints_where_they_are(stack: Stack) -> None:
    until(lambda: "Ready in" in stack["runstack"].log(), within=10, what="it says that it is ready")
    assert set(services(stack)) == set(NAMES)
    log = stack["runstack"].log()
    print(re.findall(r"Ready in .*", log))
    assert f"{stack.url}/" in log
    assert stack.address["gateway"] in log
    for name in NAMES:
        assert re.search(rf"^{name}\b", log, re.MULTILINE), f"no line is prefixed {name}"


@pytest.mark.parametrize("name", ["reader", "gateway"])
async def test_a_child_that_is_killed_is_started_again(stack: Stack, client: Client, name: str) -> None:
    before = services(stack)
    os.kill(before[name], signal.SIGKILL)
    until(
        lambda: services(stack).get(name) not in (None, before[name]),
        within=10,
        what=f"the {name} runs again",
        show=stack["runstack"].log,
    )
    stack.wait_whole()
    after = services(stack)
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }
    async with subscribed(stack.url) as notices:
        added = await client.add(f"after the {name} died")
        await notices.until_seen({added["commandId"]}, within=10)


def test_sigterm_ends_all_and_leaves_no_process(stack: Stack) -> None:
    assert len(stack.pids()) > len(NAMES)
    started = time.monotonic()
    code = stack["runstack"].terminate(within=30)
    print(f"ended with {code} in {time.monotonic() - started:.1f} s")
    assert stack.pids() == []
    assert "Traceback" not in stack["runstack"].log()
    assert code == 0


def test_no_process_outlives_a_command_that_is_killed(stack: Stack) -> None:
    if not stack["runstack"].running:
        stack["runstack"].start()
    assert set(services(stack)) == set(NAMES)
    stack["runstack"].kill()
    until(lambda: stack.pids() == [], within=10, what="the services end with the command that started them")


async def test_two_gateways_answer_at_one_address_and_one_goes_on_while_the_other_is_started_again(pair: Stack) -> None:
    log = pair["runstack"].log
    assert sorted(serving(pair["runstack"])) == ["gateway-1", "gateway-2"]
    sent: list[str] = []
    async with asyncio.timeout(20):
        while len(owners(pair)) < 2:
            sent.append(await one_request_a_connection(pair, f"before {len(sent)}"))
    killed, other = owners(pair)

    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(20):
        while len(serving(pair["runstack"])) < 3 or len(owners(pair)) < 3:
            sent.append(await answered_within_a_second(pair, f"meanwhile {len(sent)}"))
    assert len(re.findall(r"^gateway-[12] +\| ended by SIGKILL; starting it again", log(), re.MULTILINE)) == 1
    assert other in owners(pair)
    async with Client(pair.url) as client:
        for command_id in sent:
            await eventually(lambda id=command_id: is_applied(client, id), within=10, what="all are applied")  # type: ignore[misc]

    code = pair["runstack"].terminate(within=30)
    assert (code, pair.pids()) == (0, []), log()


async def test_connections_are_spread_over_two_gateways(pair: Stack) -> None:
    clients = [Client(pair.url) for _ in range(40)]
    async with AsyncExitStack() as opened:
        for client in clients:
            await opened.enter_async_context(client)
        await asyncio.gather(*(client.add(f"at once {number}") for number, client in enumerate(clients)))
    # By chance alone, all at one once in 2 ** 39.
    assert len(owners(pair)) == 2


async def answered_within_a_second(stack: Stack, name: str) -> str:
    """The same, of a client that connects again when a gateway is killed under it."""
    async with asyncio.timeout(1):
        while True:
            with contextlib.suppress(httpx.TransportError):
                return await one_request_a_connection(stack, name)
            await asyncio.sleep(0.01)


async def is_applied(client: Client, command_id: str) -> bool:
    return await client.state(command_id) == "APPLIED"


def test_a_second_stack_at_the_same_address_says_so_in_one_line(pair: Stack) -> None:
    elsewhere = ("--without", "broker", "--without", "database", "--without", "reader", "--without", "writer")
    second = pair.add("second", manage("runstack", "--gateways", "2", *elsewhere)).start(wait=False)
    assert second.wait_end() == 1
    assert second.log().splitlines() == [
        f"CommandError: cannot listen on {pair.address['gateway']} (Address already in use);"
        " CONTACTS_GATEWAY_BIND says where"
    ]


async def test_while_the_only_gateway_starts_again_a_connection_is_refused_and_does_not_hang(stack: Stack) -> None:
    if not stack["runstack"].running:
        stack["runstack"].start()
    stack.wait_whole()
    os.kill(services(stack)["gateway"], signal.SIGKILL)
    refused = 0
    async with asyncio.timeout(20):
        while True:
            try:
                async with asyncio.timeout(1):
                    assert await one_request_a_connection(stack, "while there is no gateway")
                break
            except httpx.TransportError:
                refused += 1
                await asyncio.sleep(0.05)
    assert refused


async def test_without_a_database_no_request_hangs_until_there_is_one() -> None:
    with Stack(delay=0.2) as stack:
        runstack = stack.add("runstack", manage("runstack", "--without", "database"))
        runstack.start(wait=False)
        until(lambda: "ready: MQTT" in runstack.log(), within=20, what="the broker serves", show=runstack.log)
        with pytest.raises(httpx.ConnectError):
            async with asyncio.timeout(1):
                await one_request_a_connection(stack, "before there is a database")
        stack.database().start()
        stack.wait_whole()
        assert await one_request_a_connection(stack, "with a database")
