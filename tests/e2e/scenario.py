"""The main scenario: the example's documents, posted as the example's users post them, and what is seen of it."""

import time

from tests.e2e.clients import (
    ADD_CONTACT,
    CONTACT,
    DELETE_CONTACT,
    LIST_CONTACTS,
    UPDATE_CONTACT,
    Client,
    Json,
    Notices,
    subscribed,
)

# Seconds after the delay in which a notice has to arrive. Promised are 0.1, on a machine that does nothing else.
NOTICED = 1.0

_STORED = "query($id: String!) { contact(id: $id) { id name lastUpdated version } }"


async def act_out_the_example(url: str, delay: float) -> None:
    """Adds, changes and deletes a contact by the example's documents; each is answered, noticed and stored."""
    async with Client(url) as client, subscribed(url) as notices:
        before = (await client.data(LIST_CONTACTS, path="/"))["listContacts"]

        sent = time.monotonic()
        answer = await client.data(ADD_CONTACT, path="/")
        assert answer == {"addContact": {"status": "OK", "message": "Queued to add"}}
        assert (await client.data(LIST_CONTACTS, path="/"))["listContacts"] == before
        added = await _noticed(notices, sent, delay)
        contact_id = added["contactId"]
        assert (added["kind"], added["contact"]["name"], added["contact"]["version"]) == ("ADDED", "John HUEBR", 1)
        assert (await client.data(_STORED, id=contact_id))["contact"] == added["contact"]
        (listed,) = [each for each in (await client.data(LIST_CONTACTS))["listContacts"] if each["id"] == contact_id]
        assert listed == {"id": contact_id, "name": "John HUEBR", "last_updated": added["contact"]["lastUpdated"]}
        assert (await client.data(CONTACT, path="/", id=contact_id))["contact"] == listed

        sent = time.monotonic()
        answer = await client.data(UPDATE_CONTACT, id=contact_id)
        assert answer == {"updateContact": {"status": "OK", "message": "Queued to update"}}
        updated = await _noticed(notices, sent, delay)
        assert (updated["kind"], updated["contactId"]) == ("UPDATED", contact_id)
        assert (updated["contact"]["name"], updated["contact"]["version"]) == ("John HUEBR (2)", 2)
        assert (await client.data(_STORED, path="/", id=contact_id))["contact"] == updated["contact"]

        sent = time.monotonic()
        answer = await client.data(DELETE_CONTACT, path="/", id=contact_id)
        assert answer == {"deleteContact": {"status": "OK", "message": "Queued to delete"}}
        deleted = await _noticed(notices, sent, delay)
        assert (deleted["kind"], deleted["contactId"]) == ("DELETED", contact_id)
        assert deleted["contact"]["name"] == "John HUEBR (2)"
        assert (await client.data(LIST_CONTACTS))["listContacts"] == before

        missing = await client.execute(CONTACT, id=contact_id)
        assert missing["data"] == {"contact": None}
        assert missing["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        refused = await client.execute(DELETE_CONTACT, path="/", id=contact_id)
        assert refused["errors"][0]["message"] == f"user with id {contact_id} not found"


async def _noticed(notices: Notices, sent: float, delay: float) -> Json:
    """The next notice, which comes after the delay and hardly later."""
    notice = await notices.next(within=delay + 10)
    waited = time.monotonic() - sent
    print(f"{notice['kind']} noticed {(waited - delay) * 1000:.0f} ms after the delay")
    # Times are kept to the millisecond.
    assert delay - 0.002 <= waited < delay + NOTICED
    return notice
