"""Commands as the write side sends them, in few words."""

from protocol.contact_pb2 import Contact, ContactReference
from protocol.cqrs_command_pb2 import Command, CommandMeta, Operation
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
    return Command(kind="contact.add", aggregate_id=contact_id, body=_named(name), meta=its_meta)


def update(contact_id: str, name: str = "Grace", *, command_id: str | None = None, **fields: object) -> Command:
    body, its_meta = _named(name), meta(command_id, **fields)
    return Command(kind="contact.update", aggregate_id=contact_id, body=body, meta=its_meta)


def delete(contact_id: str, *, command_id: str | None = None, **fields: object) -> Command:
    body, its_meta = ContactReference().SerializeToString(), meta(command_id, **fields)
    return Command(kind="contact.delete", aggregate_id=contact_id, body=body, meta=its_meta)


def cancelled(command: Command) -> Command:
    """The same command, voided."""
    copy = Command.FromString(command.SerializeToString())
    copy.meta.cancelled = True
    return copy


def operated(command: Command, kind: Operation.Kind, notice: int, *, actor: str = "op", name: str = "") -> Command:
    """The same command with what an operator does about it; `name`: as amended."""
    copy = Command.FromString(command.SerializeToString())
    copy.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor=actor))
    if name:
        copy.body = _named(name)
    return copy


def id_of(command: Command) -> str:
    """Its command id."""
    return str(command.meta.command_id)


def contact_of(command: Command) -> str:
    """The id of its contact."""
    return str(command.aggregate_id)


def name_of(command: Command) -> str:
    """The name in its body."""
    return Contact.FromString(command.body).name


def _named(name: str) -> bytes:
    return Contact(name=name).SerializeToString()
