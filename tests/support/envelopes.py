"""Commands as they travel, in few words: those of contacts, and an operator's part in any."""

from google.protobuf.message import Message

from protocol.contact_pb2 import Contact, ContactReference
from protocol.cqrs_command_pb2 import Command, CommandMeta, Operation
from protocol.ids import aggregate_id_of, new_command_id


def meta(command_id: str | None = None, **fields: object) -> CommandMeta:
    """A meta with a fresh command id, unless one is given."""
    return CommandMeta(command_id=new_command_id() if command_id is None else command_id, **fields)


def creates(
    kind: str, body: Message, *, aggregate_id: str | None = None, command_id: str | None = None, **fields: object
) -> Command:
    """Creates an aggregate, by the id that follows from the command's, unless one is given."""
    its_meta = meta(command_id, **fields)
    if aggregate_id is None:
        aggregate_id = aggregate_id_of(its_meta.command_id)
    return Command(meta=its_meta, kind=kind, aggregate_id=aggregate_id, body=body.SerializeToString())


def add(name: str = "Ada", *, contact_id: str | None = None, **fields: object) -> Command:
    return creates("contact.add", Contact(name=name), aggregate_id=contact_id, **fields)


def update(contact_id: str, name: str = "Grace", **fields: object) -> Command:
    return creates("contact.update", Contact(name=name), aggregate_id=contact_id, **fields)


def delete(contact_id: str, **fields: object) -> Command:
    return creates("contact.delete", ContactReference(), aggregate_id=contact_id, **fields)


def cancelled(command: Command) -> Command:
    """The same command, cancelled."""
    copy = Command.FromString(command.SerializeToString())
    copy.meta.cancelled = True
    return copy


def operated(command: Command, kind: Operation.Kind, notice: int, *, actor: str = "op", name: str = "") -> Command:
    """The same command with an operator's action; `name`: as amended."""
    copy = Command.FromString(command.SerializeToString())
    copy.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor=actor))
    if name:
        copy.body = Contact(name=name).SerializeToString()
    return copy


def id_of(command: Command) -> str:
    """Its command id."""
    return str(command.meta.command_id)


def contact_of(command: Command) -> str:
    """The id of its aggregate."""
    return str(command.aggregate_id)


def name_of(state: bytes) -> str:
    """The name in a contact's state, as notices and answers carry it."""
    return str(Contact.FromString(state).name)
