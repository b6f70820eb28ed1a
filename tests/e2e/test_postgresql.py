"""The ring with its journal and its store in one PostgreSQL database, whose server is restarted."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients import LIST_CONTACTS, Client, Notices, eventually, subscribed
from tests.support.postgresql import Cluster
from tests.support.processes import Stack, run_manage

WITHIN = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    server = Cluster(durable=True)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(server: Cluster) -> Iterator[Stack]:
    url = server.create_database()
    with Stack(delay=0.2, migrated=False, journal_url=url, database_url=url) as stack:
        run_manage(stack, "migrate", "--verbosity", "0")
        yield stack.start_ring()


async def add(client: Client, notices: Notices, person: str) -> None:
    added = await client.add(person)
    (seen,) = await notices.until_seen({added["commandId"]}, within=WITHIN)
    assert seen["contact"]["name"] == person


async def test_a_command_takes_effect_and_is_seen_before_and_after_the_server_is_restarted(
    server: Cluster, stack: Stack, client: Client
) -> None:
    async with subscribed(stack.url) as notices:
        await add(client, notices, "Ada")
        server.stop("immediate")
        server.start()

        async def is_accepted() -> bool:
            return (await client.readiness())["status"] == "ready"

        await eventually(is_accepted, within=WITHIN, what="/readyz says ready")
        await add(client, notices, "Grace")
    contacts = (await client.data(LIST_CONTACTS))["listContacts"]
    assert [contact["name"] for contact in contacts] == ["Ada", "Grace"]
