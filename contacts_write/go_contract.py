"""Contact commands as the messages of the Go example's topics.

A message is the id (field 1), the body, and the meta (field 15), joined: the body's bytes are neither opened nor made
anew. So fields that only a later contract knows, or only a Go client fills, travel with the body.
"""

from collections.abc import Sequence

from protocol import topics
from protocol.contact_pb2 import Contact, ContactReference
from protocol.cqrs_command_pb2 import Command

_TOPICS = {"contact.add": topics.ADD, "contact.update": topics.UPDATE, "contact.delete": topics.DELETE}
_KINDS = {topic: kind for kind, topic in _TOPICS.items()}
_MESSAGES = {topics.ADD: Contact, topics.UPDATE: Contact, topics.DELETE: ContactReference}

# Keys of the two fields, each followed by a length: number << 3 | 2.
_ID, _META = b"\x0a", b"\x7a"


class GoTopics:
    """The `cqrs.transport.codec.Codec` of contacts: one command a message."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics of the three commands."""
        return tuple(_KINDS)

    def encode(self, command: Command) -> tuple[str, bytes] | None:
        """Topic and payload of a contact's command; None for any other."""
        topic = _TOPICS.get(command.kind)
        return None if topic is None else (topic, message_of(command))

    def decode(self, topic: str, payload: bytes) -> Command:
        """The command in a message on one of `topics`; without a command id where the client gave none.

        Raises google.protobuf.message.DecodeError.
        """
        return command_of(_KINDS[topic], payload, _MESSAGES[topic])


def message_of(command: Command) -> bytes:
    """The contract's message, serialised, that carries a contact's command."""
    aggregate_id = command.aggregate_id.encode()
    meta = command.meta.SerializeToString()
    payload = command.body
    if aggregate_id:
        payload = _ID + _varint(len(aggregate_id)) + aggregate_id + payload
    return payload + _META + _varint(len(meta)) + meta if meta else payload


def command_of(kind: str, payload: bytes, message: type[Contact | ContactReference]) -> Command:
    """The command of a kind that a message of the contract carries. Raises google.protobuf.message.DecodeError."""
    # A reference has no fields but those two: all others are unknown to it, and kept as they are.
    envelope = ContactReference.FromString(payload)
    if not envelope.meta.command_id:
        # The message of a client that has checked nothing, so it is checked that it is one.
        message.FromString(payload)
    command = Command(kind=kind, aggregate_id=envelope.id)
    if envelope.HasField("meta"):
        command.meta.CopyFrom(envelope.meta)
    envelope.ClearField("id")
    envelope.ClearField("meta")
    command.body = envelope.SerializeToString()
    return command


def _varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    if number < 0x80:
        return number.to_bytes()
    return (number & 0x7F | 0x80).to_bytes() + _varint(number >> 7)
