"""Commands as they travel, in few words."""

from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command, CommandBatch, CommandMeta, Operation
from protocol.ids import aggregate_id_of, new_command_id


def command(
    kind: str = "contact.add",
    aggregate_id: str | None = None,
    body: bytes = b"",
    *,
    command_id: str | None = None,
    **meta: object,
) -> Command:
    """Any command, with a fresh id and the aggregate id that follows from it, unless they are given."""
    command_id = new_command_id() if command_id is None else command_id
    return Command(
        kind=kind,
        aggregate_id=aggregate_id_of(command_id) if aggregate_id is None else aggregate_id,
        body=body,
        meta=CommandMeta(command_id=command_id, **meta),
    )


def add(name: str = "Ada", aggregate_id: str | None = None, **meta: object) -> Command:
    return command("contact.add", aggregate_id, Contact(name=name).SerializeToString(), **meta)


def update(aggregate_id: str, name: str = "Grace", **meta: object) -> Command:
    return command("contact.update", aggregate_id, Contact(name=name).SerializeToString(), **meta)


def delete(aggregate_id: str, **meta: object) -> Command:
    return command("contact.delete", aggregate_id, **meta)


def cancelled(original: Command) -> Command:
    """The same command, cancelled."""
    copy = _copy(original)
    copy.meta.cancelled = True
    return copy


def operated(original: Command, kind: Operation.Kind, notice: int, *, actor: str = "op") -> Command:
    """The same command with what an operator does about it."""
    copy = _copy(original)
    copy.meta.operation.CopyFrom(Operation(kind=kind, notice=notice, actor=actor))
    return copy


def batch(*commands: Command) -> bytes:
    """The payload of a message with these commands."""
    return CommandBatch(command=commands).SerializeToString()


def id_of(command: Command) -> str:
    return command.meta.command_id


def _copy(original: Command) -> Command:
    return Command.FromString(original.SerializeToString())
