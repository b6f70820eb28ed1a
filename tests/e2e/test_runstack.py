"""`manage.py runstack`: all services by one command, those that die restarted, none left behind."""

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client, subscribed
from tests.probes import is_whole, until
from tests.processes import Stack, manage

NAMES = ("broker", "database", "reader", "writer", "gateway")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    # Not migrated: the command sees to that itself.
    with Stack(delay=0.2, migrated=False) as stack:
        stack.add("runstack", manage("runstack"), ready=lambda: is_whole(stack.url))
        yield stack.start()


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
