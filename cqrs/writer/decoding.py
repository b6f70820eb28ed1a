"""MQTT payload → commands, and what is none. No I/O."""

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from cqrs.journal.commands import body_of, kind_of, meta_of
from protocol import rules, topics
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command, CommandBatch, Undecodable

# A command over this is none, in bytes. By the rules for names, ids and actors the largest has half of it.
MAX_COMMAND = 4096
# What is kept of a payload that is no command, in bytes.
MAX_KEPT = 65_536

TOPICS = (topics.ADD, topics.UPDATE, topics.DELETE, topics.BATCH, topics.CANCEL)


class Decoded(NamedTuple):
    """What a message holds."""

    commands: Sequence[Command]
    undecodable: Sequence[Undecodable]


def decode(topic: str, payload: bytes) -> Decoded:
    """The commands in a message on one of TOPICS, in order, and beside them what could not be decoded and why."""
    if len(payload) > topics.MAX_PAYLOAD:
        reason = f"{len(payload)} bytes; a message has at most {topics.MAX_PAYLOAD}"
        return Decoded([], [undecodable(topic, payload, reason)])
    try:
        found = _parse(topic, payload)
    except DecodeError as error:
        return Decoded([], [undecodable(topic, payload, f"not the message of this topic: {error}")])
    if not found:
        return Decoded([], [undecodable(topic, payload, "no command in it")])
    commands: list[Command] = []
    defects: list[Undecodable] = []
    for command in found:
        defect = _defect(command)
        if defect is None:
            commands.append(command)
        else:
            defects.append(undecodable(topic, command.SerializeToString(), defect))
    return Decoded(commands, defects)


def undecodable(topic: str, payload: bytes, reason: str) -> Undecodable:
    """A record of a payload received now."""
    record = Undecodable(topic=topic, payload=payload[:MAX_KEPT], reason=reason, size=len(payload))
    record.received_at.GetCurrentTime()
    return record


def refused(command: Command, reason: str) -> Undecodable:
    """A record of a command that the database service does not take, as a message of its own topic."""
    topic = {"ADD": topics.ADD, "UPDATE": topics.UPDATE, "DELETE": topics.DELETE}[kind_of(command)]
    return undecodable(topic, body_of(command).SerializeToString(), reason)


def _parse(topic: str, payload: bytes) -> Sequence[Command]:
    match topic:
        case topics.ADD:
            return [Command(add=Contact.FromString(payload))]
        case topics.UPDATE:
            return [Command(update=Contact.FromString(payload))]
        case topics.DELETE:
            return [Command(delete=ContactReference.FromString(payload))]
        case _:
            return CommandBatch.FromString(payload).command


def _defect(command: Command) -> str | None:
    """Why this is no command, or None. Whether it can take effect the database decides."""
    if command.WhichOneof("body") is None:
        return "a command that is neither add, update nor delete"
    if command.ByteSize() > MAX_COMMAND:
        return f"a command of {command.ByteSize()} bytes; it has at most {MAX_COMMAND}"
    command_id = meta_of(command).command_id
    return rules.id_error(command_id, "command id") if command_id else None
