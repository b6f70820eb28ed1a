"""Commands as the Go example's messages, and back. Bytes are written down as in tests/contract/test_golden_bytes.py."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from contacts_write.go_contract import GoTopics
from cqrs.transport.codec import Codec
from protocol.contact_pb2 import Contact, ContactReference
from protocol.cqrs_command_pb2 import Command, CommandMeta, Operation

GO: Codec = GoTopics()

ID = b"8a1e2f0c-5b7d-4c3a-9f61-2d4e6a8b0c1d"
NAME = b"\x12\x0cAda Lovelace"
LAST_UPDATED = b"\x2a\x06\x08\x80\xc3\xa3\xe6\x05"
META = b"\x7a\x05\x0a\x03one"
LATER = b"\xa2\x06\x05later"  # field 100, a string

texts = st.text(st.characters(exclude_categories=["Cs"]))
metas = st.builds(
    CommandMeta,
    command_id=st.text("abc-0123", min_size=1),
    depends_on=texts,
    waited_ms=st.integers(0, 2**62),
    expected_version=st.none() | st.integers(0, 2**62),
    actor=texts,
    cancelled=st.booleans(),
    operation=st.none() | st.builds(Operation, kind=st.integers(0, 3), notice=st.integers(0, 2**62), actor=texts),
    seen=texts,
)


@pytest.mark.parametrize(
    ("topic", "payload", "command"),
    [
        ("CONTACT/ADD", NAME, Command(kind="contact.add", body=NAME)),
        (
            "CONTACT/ADD",
            b"\x0a\x24" + ID + NAME + LAST_UPDATED,
            Command(kind="contact.add", aggregate_id=ID.decode(), body=NAME + LAST_UPDATED),
        ),
        ("CONTACT/UPDATE", b"\x0a\x01c" + NAME, Command(kind="contact.update", aggregate_id="c", body=NAME)),
        ("CONTACT/DELETE", b"\x0a\x01c", Command(kind="contact.delete", aggregate_id="c")),
        (
            "CONTACT/DELETE",
            b"\x0a\x01c" + META,
            Command(kind="contact.delete", aggregate_id="c", meta=CommandMeta(command_id="one")),
        ),
        (
            "CONTACT/UPDATE",
            b"\x0a\x01c" + NAME + META + LATER,
            Command(kind="contact.update", aggregate_id="c", meta=CommandMeta(command_id="one"), body=NAME + LATER),
        ),
    ],
)
def test_a_message_of_the_example_is_a_command(topic: str, payload: bytes, command: Command) -> None:
    assert GO.decode(topic, payload) == command


def test_a_command_is_a_message_of_the_example_with_the_meta_at_its_end() -> None:
    meta = CommandMeta(command_id="one")
    update = Command(kind="contact.update", aggregate_id=ID.decode(), body=NAME, meta=meta)
    assert GO.encode(update) == ("CONTACT/UPDATE", b"\x0a\x24" + ID + NAME + META)
    assert GO.encode(Command(kind="contact.delete", aggregate_id="c", meta=meta)) == (
        "CONTACT/DELETE",
        b"\x0a\x01c" + META,
    )
    assert GO.encode(Command(kind="contact.add", body=NAME)) == ("CONTACT/ADD", NAME)


@given(name=texts, aggregate_id=texts, meta=metas)
def test_any_command_travels_as_the_contracts_message_and_comes_back_as_it_was(
    name: str, aggregate_id: str, meta: CommandMeta
) -> None:
    for kind, message in (("add", Contact), ("update", Contact), ("delete", ContactReference)):
        body = Contact(name=name).SerializeToString() if message is Contact else b""
        command = Command(kind=f"contact.{kind}", aggregate_id=aggregate_id, meta=meta, body=body)
        encoded = GO.encode(command)
        assert encoded is not None
        topic, payload = encoded
        fields = {"name": name} if message is Contact else {}
        # The very bytes that protobuf writes, so that the Go example reads nothing new.
        assert payload == message(id=aggregate_id, meta=meta, **fields).SerializeToString()
        assert GO.decode(topic, payload) == command


def test_meta_of_a_later_version_travels_too() -> None:
    payload = b"\x0a\x01c" + b"\x7a\x0d\x0a\x03one" + LATER
    command = GO.decode("CONTACT/DELETE", payload)
    assert GO.encode(command) == ("CONTACT/DELETE", payload)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("CONTACT/ADD", b"\xff\xff"),
        ("CONTACT/ADD", b"\x0a\x02\xff\xfe"),  # an id that is no UTF-8
        ("CONTACT/ADD", b"\x12\x02\xff\xfe"),  # a name that is no UTF-8
        ("CONTACT/UPDATE", b"\x2a\x01\xff"),  # a time that is none
        ("CONTACT/DELETE", b"\x7a\x01\xff"),
    ],
)
def test_bytes_that_are_not_the_message_of_their_topic_are_no_command(topic: str, payload: bytes) -> None:
    with pytest.raises(DecodeError):
        GO.decode(topic, payload)


def test_a_command_of_another_aggregate_has_no_topic() -> None:
    assert GO.encode(Command(kind="note.write", aggregate_id="n")) is None
    assert set(GO.topics) == {"CONTACT/ADD", "CONTACT/UPDATE", "CONTACT/DELETE"}
