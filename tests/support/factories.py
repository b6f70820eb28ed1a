"""Commands as the write side sends them, in few words."""

from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import CommandMeta, Operation
from protocol.ids import aggregate_id_of, new_command_id


def meta(command_id: str | None = None, **fields: object) -> CommandMeta:
    """A meta with a fresh command id, unless one is given."""
    return CommandMeta(command_id=new_command_id() if command_id is None else command_id, **fields)


def add(
    name: str = "Ada", *, contact_id: str | None = None, command_id: str | None = None, **fields: object
) -> Command:
    """Adds a contact, by the id that follows from the command's, unless one is given."""
    its_meta = meta(command_id, **fields)
    contact_id = aggregate_id_of(its_meta.command_id) if contact_id is None else contact_id
    return Command(add=Contact(id=contact_id, name=name, meta=its_meta))


def update(contact_id: str, name: str = "Grace", *, command_id: str | None = None, **fields: object) -> Command:
    return Command(update=Contact(id=contact_id, name=name, meta=meta(command_id, **fields)))


def delete(contact_id: str, *, command_id: str | None = None, **fields: object) -> Command:
    return Command(delete=ContactReference(id=contact_id, meta=meta(command_id, **fields)))


def cancelled(command: Command) -> Command:
    """The same command, withdrawn."""
    copy = Command.FromString(command.SerializeToString())
    getattr(copy, copy.WhichOneof("body")).meta.cancelled = True
    return copy


def operated(command: Command, kind: Operation.Kind, notice: int, *, actor: str = "op", name: str = "") -> Command:
    """The same command with what an operator does about it; `name`: as amended."""
    copy = Command.FromString(command.SerializeToString())
    body = getattr(copy, copy.WhichOneof("body"))
    body.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor=actor))
    if name:
        body.name = name
    return copy


def id_of(command: Command) -> str:
    """Its command id."""
    return str(getattr(command, command.WhichOneof("body")).meta.command_id)


def contact_of(command: Command) -> str:
    """The id of its contact."""
    return str(getattr(command, command.WhichOneof("body")).id)
