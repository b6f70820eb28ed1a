"""What a stranger does first, with the delay of three seconds that the contract has."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.burst import add_all
from tests.e2e.clients import LIST_CONTACTS, Client, subscribed
from tests.e2e.scenario import act_out_the_example
from tests.support.processes import Stack

DELAY = 3.0
BURST = 500


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=DELAY) as stack:
        yield stack.start_ring()


async def test_the_examples_documents_are_answered_noticed_and_stored(stack: Stack) -> None:
    await act_out_the_example(stack.url, DELAY)


async def test_a_query_may_be_sent_by_get(client: Client) -> None:
    for path in ("/", "/graphql"):
        answer = await client.get(f"{path}?query={{listContacts(count:10){{id}}}}", Accept="application/json")
        assert answer.json() == {"data": {"listContacts": []}}


async def test_a_mutation_says_what_it_queued_and_until_when(client: Client) -> None:
    added = await client.add("Ada")
    command = await client.command(added["commandId"])
    assert (command["state"], command["kind"], command["contactId"]) == ("QUEUED", "ADD", added["contactId"])
    assert 0 < added["takesEffectInMs"] <= DELAY * 1000


async def test_500_mutations_sent_within_a_second_are_all_committed_within_five(stack: Stack) -> None:
    async with subscribed(stack.url) as notices:
        started = time.monotonic()
        added = await add_all(stack.url, [f"burst {number}" for number in range(BURST)])
        sent = time.monotonic() - started
        seen = await notices.until_seen({each["commandId"] for each in added}, within=30)
        committed = time.monotonic() - started
    print(f"{BURST} mutations accepted in {sent:.2f} s, all committed {committed:.2f} s after the first was sent")
    names = [notice["contact"]["name"] for notice in seen if notice["contact"]["name"].startswith("burst")]
    assert sorted(names) == sorted(f"burst {number}" for number in range(BURST))
    # Five seconds are promised when they were sent within one; a busy machine sends them more slowly.
    assert committed < 5 + max(0.0, sent - 1) + 1


async def test_a_list_shows_the_first_ones(client: Client) -> None:
    contacts = (await client.data(LIST_CONTACTS))["listContacts"]
    assert len(contacts) == 10
    assert contacts[0]["name"] == "Ada"
