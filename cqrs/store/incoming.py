"""A command as it comes to a batch: what of it decides on its turn, and what an operator wants of a parked one."""

from typing import NamedTuple

from cqrs.store.commands import body_of, completed, ids_error
from cqrs.store.models import MAX_ACTOR
from cqrs.store.rows import Parked
from protocol.contact_pb2 import Contact
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import Operation
from protocol.ids import aggregate_id_of
from protocol.rules import id_error


class Offer(NamedTuple):
    """A command, complete, and what of it decides on its turn.

    retried: it is parked and tried again by itself. seen: a position that this history has to have; empty: any history.
    """

    command: Command
    command_id: str
    contact_id: str
    depends_on: str
    cancelled: bool
    operation: Operation
    actor: str
    retried: bool
    seen: str

    @property
    def withdrawn(self) -> bool:
        """Whether it is to end without effect, which needs no turn."""
        return self.cancelled or self.operation.kind == Operation.DISCARD


def offer_of(command: Command, *, retried: bool = False) -> Offer:
    """The command as it is offered. Ids that are none are not kept: it will be rejected, at once, under one that is."""
    command = completed(command)
    body = body_of(command)
    meta = body.meta
    command_id, contact_id, depends_on = meta.command_id, body.id, meta.depends_on
    if ids_error(body):
        # Derived, so that it is known when it is sent again.
        command_id = aggregate_id_of(command_id) if id_error(command_id) else command_id
        contact_id = "" if id_error(contact_id) else contact_id
        depends_on = ""
    actor = _actor(meta.actor)
    # What is parked here is of this history, whatever its sender had seen.
    seen = "" if retried else meta.seen
    return Offer(command, command_id, contact_id, depends_on, meta.cancelled, meta.operation, actor, retried, seen)


def as_parked(offer: Offer, parked: Parked) -> Offer | None:
    """The parked command with what the offer changes about it; None: nothing.

    A cancel does, and an operation that answers the newest notice of its parking. An operation has led to another
    notice once it is done, and so is done once.
    """
    operation = offer.operation
    answers = operation.kind != Operation.NONE and operation.notice == parked.notice
    command = Command.FromString(parked.payload)
    body, said = body_of(command), body_of(offer.command)
    if not (answers or offer.cancelled) or body.id != said.id:
        return None
    if answers and operation.kind == Operation.AMEND:
        if isinstance(body, Contact) and isinstance(said, Contact):
            body.name = said.name
        body.meta.ClearField("expected_version")
        if said.meta.HasField("expected_version"):
            body.meta.expected_version = said.meta.expected_version
    if not answers:
        operation = Operation()
    body.meta.operation.CopyFrom(operation)
    body.meta.cancelled = offer.cancelled
    return offer._replace(command=command, depends_on=body.meta.depends_on, operation=operation)


def kept(command: Command, behind: str) -> bytes:
    """A command as it is parked, depending on what it waits for now: what it followed may be pruned and forgotten."""
    copy = Command.FromString(command.SerializeToString())
    meta = body_of(copy).meta
    meta.depends_on = behind
    meta.ClearField("operation")
    return copy.SerializeToString()


def operated(operation: Operation) -> str:
    """What an operator has to do with an outcome, to follow on its message."""
    if operation.kind == Operation.NONE:
        return ""
    by = f"by {_actor(operation.actor) or 'an operator'}"
    match operation.kind:
        case Operation.RETRY:
            return f" (retried {by})"
        case Operation.AMEND:
            return f" (amended {by})"
        case Operation.DISCARD:
            return f" {by}"
        case _:
            return ""


def _actor(name: str) -> str:
    if not name:
        return ""
    return name[:MAX_ACTOR].replace("\0", "")
