"""A command as it comes to a unit of work, and an operator's action on a parked one."""

from collections.abc import Sequence
from typing import NamedTuple

from cqrs.aggregate import Effect, verb_of
from cqrs.store.decide import ids_error
from cqrs.store.models import MAX_ACTOR, MAX_KIND
from cqrs.store.rows import Parked
from protocol.cqrs_command_pb2 import Command, Operation
from protocol.ids import aggregate_id_of, new_command_id
from protocol.rules import id_error


class IncomingCommand(NamedTuple):
    """A complete command, and the part of it that decides on its turn; all texts are such as every database takes.

    retried: it is parked, and the store tries it again. seen: a position that this history has to have; empty: any
    history will do.
    """

    command: Command
    command_id: str
    kind: str
    aggregate: str
    aggregate_id: str
    depends_on: str
    cancelled: bool
    operation: Operation
    actor: str
    retried: bool
    seen: str

    @property
    def is_voided(self) -> bool:
        """Whether it is to end without effect, which needs no turn."""
        return self.cancelled or self.operation.kind == Operation.DISCARD


def incoming_of(commands: Sequence[Command], *, retried: bool = False) -> list[IncomingCommand]:
    """The commands as they come. Ids that are none are replaced: their command is rejected at once, under sound ids."""
    return [_incoming_of(command, retried) for command in commands]


def _incoming_of(command: Command, retried: bool) -> IncomingCommand:
    command = _completed(command)
    meta, kind = command.meta, command.kind
    command_id, aggregate_id, depends_on = meta.command_id, command.aggregate_id, meta.depends_on
    if ids_error(command):
        # Derived, so that the command is known when it is sent again.
        command_id = aggregate_id_of(command_id) if id_error(command_id) else command_id
        aggregate_id = "" if id_error(aggregate_id) else aggregate_id
        depends_on = ""
    if verb_of(kind) is None:
        kind = _text(kind, MAX_KIND)
    return IncomingCommand(
        command,
        command_id,
        kind,
        kind.partition(".")[0],
        aggregate_id,
        depends_on,
        meta.cancelled,
        meta.operation,
        _text(meta.actor, MAX_ACTOR),
        retried,
        # A parked command is of this history, whatever its sender had seen.
        "" if retried else meta.seen,
    )


def as_parked(incoming: IncomingCommand, parked: Parked) -> IncomingCommand | None:
    """Applies an incoming cancel or operator's action to the parked command.

    None where it changes nothing: it is neither, it is about another aggregate, or the action answers an older notice
    than the newest of the parking. An action leads to another notice, and so is done once.
    """
    operation, said = incoming.operation, incoming.command
    answers = operation.kind != Operation.NONE and operation.notice == parked.notice
    command = Command.FromString(parked.payload)
    is_same = (command.kind, command.aggregate_id) == (said.kind, said.aggregate_id)
    if not (answers or incoming.cancelled) or not is_same:
        return None
    meta = command.meta
    if answers and operation.kind == Operation.AMEND:
        command.body = said.body
        meta.ClearField("expected_version")
        if said.meta.HasField("expected_version"):
            meta.expected_version = said.meta.expected_version
    if not answers:
        operation = Operation()
    meta.operation.CopyFrom(operation)
    meta.cancelled = incoming.cancelled
    return incoming._replace(command=command, depends_on=meta.depends_on, operation=operation)


def kept(command: Command, behind: str) -> bytes:
    """A command as it is parked: it depends on `behind` alone, since its predecessors may be pruned and forgotten."""
    copy = Command()
    copy.CopyFrom(command)
    copy.meta.depends_on = behind
    copy.meta.ClearField("operation")
    return copy.SerializeToString()


def operated(operation: Operation) -> str:
    """An operator's part in an outcome, to follow on its message."""
    if operation.kind == Operation.NONE:
        return ""
    by = f"by {_text(operation.actor, MAX_ACTOR) or 'an operator'}"
    match operation.kind:
        case Operation.RETRY:
            return f" (retried {by})"
        case Operation.AMEND:
            return f" (amended {by})"
        case Operation.DISCARD:
            return f" {by}"
        case _:
            return ""


def _completed(command: Command) -> Command:
    """The command with the ids that a foreign client leaves out: its own, and that of the aggregate it creates.

    The same object when nothing was missing.
    """
    if command.meta.command_id and command.aggregate_id:
        return command
    verb = verb_of(command.kind)
    creates = verb is not None and verb.effect is Effect.CREATES
    if command.meta.command_id and not creates:
        return command
    copy = Command()
    copy.CopyFrom(command)
    copy.meta.command_id = copy.meta.command_id or new_command_id()
    if creates and not copy.aggregate_id:
        copy.aggregate_id = aggregate_id_of(copy.meta.command_id)
    return copy


def _text(text: str, longest: int) -> str:
    """A foreign text as a column takes it: without NUL, which PostgreSQL refuses."""
    return text[:longest].replace("\0", "") if text else ""
