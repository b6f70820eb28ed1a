"""Two writers at once are redundant and harmless: every command takes effect once, whichever dies."""

from collections.abc import Iterator

import pytest

from tests.e2e.burst import add_all
from tests.e2e.clients import Client, subscribed
from tests.e2e.load import Accepted, assert_each_took_effect_once, light_load
from tests.support.processes import Stack, manage

WITHIN = 10.0
BURST = 300


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.3) as stack:
        stack.add("second writer", manage("runwriter"))
        yield stack.start_ring()


@pytest.fixture(scope="module")
def accepted() -> Accepted:
    """What was accepted in all tests of this module: a repetition may come late."""
    return Accepted()


async def test_each_command_takes_effect_once(stack: Stack) -> None:
    async with subscribed(stack.url) as notices:
        added = {answer["commandId"] for answer in await add_all(stack.url, [f"n {n}" for n in range(BURST)])}
        seen = await notices.until_seen(added, within=WITHIN)
    assert len(seen) == BURST
    assert {notice["kind"] for notice in seen} == {"ADDED"}


@pytest.mark.parametrize("victim", ["writer", "second writer"])
async def test_when_one_is_killed_the_other_goes_on(
    stack: Stack, client: Client, accepted: Accepted, victim: str
) -> None:
    async with subscribed(stack.url) as notices:
        added = await client.add(f"renamed while the {victim} is killed")
        await notices.until_seen({added["commandId"]})
    contact_id: str = added["contactId"]
    accepted.renamed.clear()
    async with light_load(stack.url, accepted, contact_id):
        await accepted.grown_by(20)
        stack[victim].kill()
        await accepted.grown_by(20)
    # The other one alone: the victim is still away.
    await assert_each_took_effect_once(stack.url, accepted, within=WITHIN)
    stack[victim].start()


async def test_when_one_comes_back_nothing_is_repeated(stack: Stack, accepted: Accepted) -> None:
    assert len(accepted) > 40
    await assert_each_took_effect_once(stack.url, accepted, within=WITHIN)
