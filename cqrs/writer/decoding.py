"""Decodes MQTT payloads into commands and malformed messages. No I/O.

Of a command only the envelope is looked at. Its bytes stay as they came, from here to the database service.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from cqrs.transport.codec import Codec
from cqrs.writer.malformed import record_of
from protocol import rules, topics
from protocol.cqrs_command_pb2 import Command, SerializedBatch
from protocol.cqrs_write_pb2 import Malformed
from protocol.ids import new_command_id

# Characters of aggregate and verb.
MAX_KIND = 100


class Received(NamedTuple):
    """A command as it came."""

    envelope: Command
    # The envelope, serialised.
    payload: bytes
    # Its sender gave it no id, and sends it once: nobody can ask for it again.
    at_most_once: bool


class Decoded(NamedTuple):
    """What a message holds."""

    commands: Sequence[Received]
    malformed: Sequence[Malformed]


class Decoder:
    """Decodes messages of the kit's topics, and by `codec` those of the topics that others speak too."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._alone = frozenset(codec.topics)

    @property
    def topics(self) -> Sequence[str]:
        """Those on which commands come."""
        return (*self._codec.topics, topics.BATCH, topics.CANCEL)

    def decode(self, topic: str, payload: bytes) -> Decoded:
        """The commands in a message on one of `topics`, in order, and records of what is malformed."""
        if len(payload) > topics.MAX_PAYLOAD:
            reason = f"{len(payload)} bytes; a message has at most {topics.MAX_PAYLOAD}"
            return Decoded([], [record_of(topic, payload, reason)])
        try:
            if topic in self._alone:
                return _checked(topic, [self._codec.decode(topic, payload).SerializeToString()])
            serialized = SerializedBatch.FromString(payload).command
        except DecodeError as error:
            return Decoded([], [record_of(topic, payload, f"not the message of this topic: {error}")])
        if not serialized:
            return Decoded([], [record_of(topic, payload, "no command in it")])
        return _checked(topic, serialized)

    def record_of_refused(self, payload: bytes, reason: str) -> Malformed:
        """A record of a serialised command that the database service refuses, as a message of a topic it comes on."""
        topic, message = self._codec.encode(Command.FromString(payload)) or (
            topics.BATCH,
            SerializedBatch(command=[payload]).SerializeToString(),
        )
        return record_of(topic, message, reason)


def _checked(topic: str, payloads: Iterable[bytes]) -> Decoded:
    """Commands and malformed messages of serialised commands."""
    commands: list[Received] = []
    malformed: list[Malformed] = []
    for payload in payloads:
        try:
            envelope = Command.FromString(payload)
            defect = _defect(envelope, len(payload))
        except DecodeError as error:
            defect = f"not a command: {error}"
        if defect is not None:
            malformed.append(record_of(topic, payload, defect))
            continue
        at_most_once = not envelope.meta.command_id
        if at_most_once:
            envelope.meta.command_id = new_command_id()
            payload = envelope.SerializeToString()
        commands.append(Received(envelope, payload, at_most_once))
    return Decoded(commands, malformed)


def _defect(envelope: Command, size: int) -> str | None:
    """Why this is malformed, or None. Whether it can take effect the database decides."""
    if size > topics.MAX_COMMAND:
        return f"a command of {size} bytes; it has at most {topics.MAX_COMMAND}"
    if not envelope.kind:
        return "a command without a kind, for example note.write"
    if len(envelope.kind) > MAX_KIND:
        return f"a command whose kind has {len(envelope.kind)} characters; it has at most {MAX_KIND}"
    if len(envelope.aggregate_id) > rules.MAX_ID:
        return (
            f"a command whose aggregate id has {len(envelope.aggregate_id)} characters; it has at most {rules.MAX_ID}"
        )
    command_id = envelope.meta.command_id
    if not command_id:
        return None
    if not envelope.aggregate_id:
        return "a command with an id, but without an aggregate id"
    return rules.id_error(command_id, "command id")
