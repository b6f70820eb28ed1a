"""`rundatabase --memory`, the example's memory store: the same ring, and a history that ends with the process."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client, eventually, subscribed
from tests.e2e.scenario import act_out_the_example
from tests.support.processes import Stack

DELAY = 0.3


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.broker(), stack.database("--memory"), stack.reader(), stack.writer(), stack.gateway()
        yield stack.start()


async def test_the_example_runs_on_the_memory_store(stack: Stack) -> None:
    await act_out_the_example(stack.url, DELAY)


async def test_a_memory_store_that_was_restarted_is_empty_and_goes_on(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        added = await client.add("forgotten")
        await notices.until_seen({added["commandId"]})
    assert await client.names() == ["forgotten"]

    stack["database"].kill()
    stack["database"].start()

    async def empty() -> bool:
        answer = await client.execute("{ listContacts(count: 10) { name } }")
        return answer.get("data") == {"listContacts": []}

    await eventually(empty, within=10, what="the restarted memory store answers, empty")
    added = await client.add("after the restart")

    async def applied() -> bool:
        return await client.state(added["commandId"]) == "APPLIED"

    await eventually(applied, within=10, what="a command of after the restart takes effect")
    assert await client.names() == ["after the restart"]
