"""The stand-ins by themselves: they behave as the example does, or the mixed stacks prove nothing."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients import ADD_CONTACT, CONTACT, DELETE_CONTACT, LIST_CONTACTS, UPDATE_CONTACT, Client, eventually
from tests.support.processes import Stack

pytestmark = pytest.mark.mosquitto


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(delay=0.2, migrated=False) as stack:
        stack.mosquitto()
        for role in ("database", "reader", "writer", "gateway"):
            stack.foreign(role)
        yield stack.start(ready=False)


async def listed(client: Client) -> list[str]:
    return [contact["name"] for contact in (await client.data(LIST_CONTACTS))["listContacts"]]


async def test_the_examples_documents_work_on_stand_ins_alone(client: Client) -> None:
    assert await listed(client) == []

    assert await client.data(ADD_CONTACT) == {"addContact": {"status": "OK", "message": "Queued to add"}}
    await eventually(lambda: listed(client), within=5, what="the contact is listed")
    (contact,) = (await client.data(LIST_CONTACTS))["listContacts"]
    assert (await client.data(CONTACT, id=contact["id"]))["contact"] == contact
    assert contact["last_updated"].startswith("seconds:")

    answer = await client.data(UPDATE_CONTACT, id=contact["id"])
    assert answer == {"updateContact": {"status": "OK", "message": "Queued to update"}}

    async def renamed() -> bool:
        return await listed(client) == ["John HUEBR (2)"]

    await eventually(renamed, within=5, what="the contact has its new name")

    answer = await client.data(DELETE_CONTACT, id=contact["id"])
    assert answer == {"deleteContact": {"status": "OK", "message": "Queued to delete"}}

    async def gone() -> bool:
        return await listed(client) == []

    await eventually(gone, within=5, what="the contact is gone")
    missing = await client.execute(UPDATE_CONTACT, id=contact["id"])
    assert missing["errors"][0]["message"] == f"user with id {contact['id']} not found"
