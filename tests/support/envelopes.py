"""Commands as they travel, in few words."""

from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command, CommandBatch, CommandMeta, Operation
from protocol.ids import aggregate_id_of, new_command_id


def meta(command_id: str | None = None, **fields: object) -> CommandMeta:
    """A meta with a fresh command id, unless one is given."""
    return CommandMeta(command_id=new_command_id() if command_id is None else command_id, **fields)


def command(
    kind: str = "contact.add",
    aggregate_id: str | None = None,
    body: bytes = b"",
    *,
    command_id: str | None = None,
    **fields: object,
) -> Command:
    """Any command, with a fresh id and the aggregate id that follows from it, unless they are given."""
    its_meta = meta(command_id, **fields)
    if aggregate_id is None:
        aggregate_id = aggregate_id_of(its_meta.command_id)
    return Command(kind=kind, aggregate_id=aggregate_id, body=body, meta=its_meta)


def add(name: str = "Ada", aggregate_id: str | None = None, **fields: object) -> Command:
    return command("contact.add", aggregate_id, Contact(name=name).SerializeToString(), **fields)


def update(aggregate_id: str, name: str = "Grace", **fields: object) -> Command:
    return command("contact.update", aggregate_id, Contact(name=name).SerializeToString(), **fields)


def delete(aggregate_id: str, **fields: object) -> Command:
    return command("contact.delete", aggregate_id, **fields)


def cancelled(original: Command) -> Command:
    """The same command, cancelled."""
    copy = _copy(original)
    copy.meta.cancelled = True
    return copy


def operated(original: Command, kind: Operation.Kind, notice: int, *, actor: str = "op", name: str = "") -> Command:
    """The same command with an operator's action; `name`: as amended."""
    copy = _copy(original)
    copy.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor=actor))
    if name:
        copy.body = Contact(name=name).SerializeToString()
    return copy


def batch(*commands: Command) -> bytes:
    """The payload of a message with these commands."""
    return CommandBatch(command=commands).SerializeToString()


def id_of(command: Command) -> str:
    """Its command id."""
    return command.meta.command_id


def contact_of(command: Command) -> str:
    """The id of its aggregate."""
    return command.aggregate_id


def name_of(state: bytes) -> str:
    """The name in a contact's state, as notices and answers carry it."""
    return Contact.FromString(state).name


def _copy(original: Command) -> Command:
    return Command.FromString(original.SerializeToString())
