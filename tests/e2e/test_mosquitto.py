"""Any MQTT 3.1.1 broker will do: the main scenario and a broker's death, with Mosquitto."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients import Client, subscribed
from tests.e2e.scenario import act_out_the_example
from tests.support.processes import Stack

pytestmark = pytest.mark.mosquitto

DELAY = 0.3


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        stack.mosquitto(), stack.database(), stack.reader(), stack.writer(), stack.gateway()
        yield stack.start()


async def test_the_example_runs_on_mosquitto(stack: Stack) -> None:
    await act_out_the_example(stack.url, DELAY)


async def test_what_was_accepted_survives_the_death_of_mosquitto(stack: Stack, client: Client) -> None:
    async with subscribed(stack.url) as notices:
        before = [await client.add(f"before {number}") for number in range(10)]
        stack["broker"].kill()
        meanwhile = [await client.add(f"meanwhile {number}") for number in range(10)]
        stack["broker"].start()
        seen = await notices.until_seen({each["commandId"] for each in (*before, *meanwhile)}, within=10)
    assert len(seen) == 20
