"""kill -9 of each process in turn, under load: the others go on, all recovers, nothing is lost or done twice."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client, eventually, subscribed
from tests.e2e.load import Accepted, assert_each_took_effect_once, light_load
from tests.support.processes import Stack

# Seconds from the restart of a process, once it answers, until all is as if nothing had been.
RECOVERED = 10.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.3) as stack:
        yield stack.start_ring()


@pytest.fixture(scope="module")
def accepted() -> Accepted:
    """What was accepted in all tests of this module: a repetition may come late."""
    return Accepted()


@pytest.fixture
async def contact_id(client: Client, stack: Stack) -> str:
    """A contact to rename."""
    async with subscribed(stack.url) as notices:
        added = await client.add("to be renamed")
        await notices.until_seen({added["commandId"]})
    contact_id: str = added["contactId"]
    return contact_id


@pytest.mark.parametrize("victim", ["reader", "database", "broker", "writer", "gateway"])
async def test_a_service_that_is_killed_and_restarted_loses_nothing_and_repeats_nothing(
    stack: Stack, client: Client, accepted: Accepted, contact_id: str, victim: str
) -> None:
    others = {name: service.pid for name, service in stack.services.items() if name != victim}
    async with light_load(stack.url, accepted, contact_id):
        await accepted.grown_by(15)
        stack[victim].kill()
        if victim != "gateway":
            await accepted.grown_by(15)
        stack[victim].start()
        restarted = time.monotonic()

        await eventually(
            client.is_whole, within=RECOVERED, what=f"/readyz says that all is there after the {victim} came back"
        )
        await accepted.grown_by(15)
    await assert_each_took_effect_once(stack.url, accepted, within=RECOVERED)
    print(f"{victim}: all {len(accepted)} settled {time.monotonic() - restarted:.1f} s after it came back")
    assert others == {name: service.pid for name, service in stack.services.items() if name != victim}
    assert all(service.running for service in stack.services.values())


async def test_after_all_of_that_every_command_took_effect_once(stack: Stack, accepted: Accepted) -> None:
    assert len(accepted) > 100
    await assert_each_took_effect_once(stack.url, accepted, within=RECOVERED)
