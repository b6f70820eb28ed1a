r"""Payloads as the Go example sends and reads them, written down field by field from the contract.

A field is its key, (number << 3) | wire type, then its value: \x0a is field 1, \x12 field 2, \x2a field 5, each with a
length and so many bytes; \x08 is field 1 as a number. What has its default value (OK is 0) is not on the wire.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest

from cqrs.store import apply as apply_module
from cqrs.store.server import DatabaseServer
from cqrs.transport.grpc_channel import open_channel
from database_service.go_contract import GO_CONTRACT
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_read_pb2 import ListContactsFilter

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

ID = b"8a1e2f0c-5b7d-4c3a-9f61-2d4e6a8b0c1d"

ADD = b"\x12\x0cAda Lovelace"  # Contact: name
ADD_WITH_ID_AND_TIME = (
    b"\x0a\x24" + ID + b"\x12\x03Ada\x2a\x06\x08\x80\xc3\xa3\xe6\x05"  # last_updated, a message: seconds = 1556668800
)
UPDATE = b"\x0a\x24" + ID + b"\x12\x0bGr\xc3\xa2ce \xe4\xb8\xad!"  # Contact: id, name in UTF-8
REFERENCE = b"\x0a\x24" + ID  # ContactReference: id
FIRST_TEN = b"\x08\x0a"  # ListContactsFilter: count
NOTHING = b""  # any message with nothing but defaults

# What an answer has besides, at the end of a Contact; an old peer skips it: version = 1 and 2.
VERSION_1, VERSION_2 = b"\x70\x01", b"\x70\x02"
# last_updated of what is committed at 1764000000.500: seconds, and nanos.
COMMITTED = b"\x2a\x0c\x08\x80\x82\x92\xc9\x06\x10\x80\xca\xb5\xee\x01"

Call = Callable[[str, bytes], Awaitable[bytes]]


@pytest.fixture
async def call(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Call]:
    """Sends bytes to a method of the database service and returns the bytes it answers."""
    monkeypatch.setattr(apply_module, "now_ms", lambda: 1_764_000_000_500)

    server = DatabaseServer("127.0.0.1:0", contract=GO_CONTRACT)
    async with server.serving() as port, open_channel(f"127.0.0.1:{port}") as channel:

        async def send(method: str, payload: bytes) -> bytes:
            # Without serializers: bytes as they are.
            return bytes(await channel.unary_unary(f"/protocol.{method}")(payload))

        yield send


def test_what_the_example_sends_is_decoded():
    assert Contact.FromString(ADD) == Contact(name="Ada Lovelace")
    contact = Contact.FromString(ADD_WITH_ID_AND_TIME)
    assert (contact.id.encode(), contact.name, contact.last_updated.seconds) == (ID, "Ada", 1556668800)
    assert Contact.FromString(UPDATE).name == "Grâce 中!"
    assert ContactReference.FromString(REFERENCE).id.encode() == ID
    assert ListContactsFilter.FromString(FIRST_TEN).count == 10


async def test_an_add_with_its_id_is_applied_and_read_back(call: Call):
    assert await call("ContactWriter/AddContact", ADD_WITH_ID_AND_TIME) == b"\x12\x0dContact added"
    contact = b"\x0a\x24" + ID + b"\x12\x03Ada" + COMMITTED + VERSION_1
    assert len(contact) == 0x3B
    ok = b"\x0a\x04\x12\x02OK"
    assert await call("ContactReader/GetContact", REFERENCE) == ok + b"\x12\x3b" + contact
    assert await call("ContactReader/ListContacts", FIRST_TEN) == ok + b"\x12\x3b" + contact
    assert await call("ContactReader/ListContacts", NOTHING) == ok, "count 0 lists none"


async def test_an_add_with_nothing_but_a_name_gets_an_id(call: Call):
    assert await call("ContactWriter/AddContact", ADD) == b"\x12\x0dContact added"
    listed = await call("ContactReader/ListContacts", FIRST_TEN)
    begin, end = b"\x0a\x04\x12\x02OK\x12\x44\x0a\x24", b"\x12\x0cAda Lovelace" + COMMITTED + VERSION_1
    assert listed.startswith(begin)
    assert listed.endswith(end)
    new_id = listed[len(begin) : -len(end)]
    assert len(new_id) == 36
    assert (await call("ContactReader/GetContact", b"\x0a\x24" + new_id)).endswith(new_id + end)


async def test_an_update_and_a_delete_are_applied(call: Call):
    await call("ContactWriter/AddContact", ADD_WITH_ID_AND_TIME)
    assert await call("ContactWriter/UpdateContact", UPDATE) == b"\x12\x0fContact updated"
    contact = UPDATE + COMMITTED + VERSION_2
    assert await call("ContactReader/GetContact", REFERENCE) == b"\x0a\x04\x12\x02OK\x12\x43" + contact
    assert await call("ContactWriter/DeleteContact", REFERENCE) == b"\x12\x0fContact deleted"
    assert await call("ContactReader/ListContacts", FIRST_TEN) == b"\x0a\x04\x12\x02OK"


async def test_what_is_not_there_is_an_error_inside_an_answer_that_is_ok(call: Call):
    error = b"\x08\x01\x12\x3buser with id " + ID + b" not found"
    assert len(error) == 2 + 2 + 0x3B
    assert await call("ContactWriter/UpdateContact", UPDATE) == error
    assert await call("ContactWriter/DeleteContact", REFERENCE) == error
    assert await call("ContactReader/GetContact", REFERENCE) == b"\x0a\x3f" + error


async def test_a_command_that_is_known_by_its_meta_is_applied_once(call: Call):
    with_meta = ADD + b"\x7a\x05\x0a\x03one"  # meta = 15, a message: command_id = 1
    for _ in range(2):
        assert await call("ContactWriter/AddContact", with_meta) == b"\x12\x0dContact added"
    assert (await call("ContactReader/ListContacts", FIRST_TEN)).count(b"Ada Lovelace") == 1


async def test_fields_of_a_later_contract_are_skipped(call: Call):
    unknown = b"\xa2\x06\x05later"  # field 100, a string
    assert await call("ContactWriter/AddContact", ADD + unknown) == b"\x12\x0dContact added"


async def test_bytes_that_are_no_message_are_refused_and_change_nothing(call: Call):
    with pytest.raises(grpc.aio.AioRpcError, match="Error parsing message"):
        await call("ContactWriter/AddContact", b"\x12\xff")
    assert await call("ContactReader/ListContacts", FIRST_TEN) == b"\x0a\x04\x12\x02OK"
