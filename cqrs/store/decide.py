"""What a command does to an aggregate. Pure, so that applying a command and showing what it would do are the same."""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from cqrs.aggregate import Aggregate, Effect, Verb, registry, verb_of
from protocol.cqrs_command_pb2 import Command, CommandMeta, Operation
from protocol.cqrs_notice_pb2 import Notice
from protocol.rules import id_error

# Kinds of notices whose state is the one that the aggregate has from then on.
WRITTEN = (Notice.ADDED, Notice.UPDATED)


class Outcome(NamedTuple):
    """What becomes of a command.

    state: ADDED, UPDATED: as it is to be, but for `last_updated`, which is when it is committed; DELETED: as it was
    last; REJECTED: as it is; None where there is none to show.
    """

    kind: Notice.Kind
    state: Any | None
    message: str
    reason: Notice.Reason = Notice.NONE


def decide(state: Any | None, command: Command) -> Outcome:
    """What the complete `command` does to an aggregate in this `state` (None: none has its id).

    Raises whatever the verb raises; TypeError where it returns neither a state nor a sentence.
    """
    if outcome := voided(command):
        return outcome
    if error := ids_error(command):
        return _rejected(state, Notice.INVALID, error)
    verb = verb_of(command.kind)
    if verb is None:
        return _rejected(state, Notice.INVALID, _unknown(command.kind))
    try:
        body = verb.body.FromString(command.body)
    except DecodeError:
        return _rejected(state, Notice.INVALID, f"the body of {command.kind} is no {verb.body.DESCRIPTOR.full_name}")
    if error := verb.clean(body):
        return _rejected(state, Notice.INVALID, error)
    aggregate = registry()[verb.aggregate]
    if refusal := _refusal(aggregate, verb, state, command):
        return refusal
    return _decided(aggregate, verb, state, body, command.aggregate_id)


def voided(command: Command) -> Outcome | None:
    """The end of a command that is to have no effect; None where it is to have one.

    Apart from `decide`, so that a command on which that fails can be voided all the same.
    """
    meta = command.meta
    if meta.cancelled:
        return Outcome(Notice.CANCELLED, None, "Cancelled")
    if meta.operation.kind == Operation.DISCARD:
        return Outcome(Notice.DISCARDED, None, "Discarded")
    return None


def after(state: Any | None, outcome: Outcome) -> Any | None:
    """The state once it came to this."""
    if outcome.kind in WRITTEN:
        return outcome.state
    return None if outcome.kind == Notice.DELETED else state


def ids_error(command: Command) -> str | None:
    """Why an id of a complete command is none (as a sentence), or None."""
    meta = command.meta
    depends_on = meta.depends_on
    if error := id_error(meta.command_id, "command id"):
        return error
    if id_error(command.aggregate_id):
        return id_error(command.aggregate_id, f"{command.kind.partition('.')[0][:100] or 'aggregate'} id")
    return id_error(depends_on, "depends_on") if depends_on else None


def _refusal(aggregate: Aggregate, verb: Verb, state: Any | None, command: Command) -> Outcome | None:
    """Why the aggregate, as it is, has no such command done to it."""
    if verb.effect is Effect.CREATES:
        if state is None:
            return None
        return _rejected(state, Notice.CONFLICT, aggregate.exists(command.aggregate_id))
    if state is None:
        return _rejected(state, Notice.NOT_FOUND, aggregate.missing(command.aggregate_id))
    if error := _version_error(aggregate, state, command.meta):
        return _rejected(state, Notice.CONFLICT, error)
    return None


def _decided(aggregate: Aggregate, verb: Verb, state: Any | None, body: Any, aggregate_id: str) -> Outcome:
    given = None
    if state is not None:
        # A copy: a verb that changes the state it was given, then rejects, has changed nothing.
        given = aggregate.state()
        given.CopyFrom(state)
    decided: Any = verb.decide(given, body)
    if isinstance(decided, str):
        return _rejected(state, Notice.INVALID, decided)
    subject = aggregate.label.capitalize()
    if verb.effect is Effect.DELETES:
        return Outcome(Notice.DELETED, state, f"{subject} deleted")
    if not isinstance(decided, aggregate.state):
        name = aggregate.state.DESCRIPTOR.name
        raise TypeError(f"{verb.kind} returns {type(decided).__name__}, neither a {name} nor a sentence")
    wanted: Any = decided
    wanted.id = aggregate_id
    if state is None:
        wanted.version = 1
        return Outcome(Notice.ADDED, wanted, f"{subject} added")
    wanted.version = state.version + 1
    return Outcome(Notice.UPDATED, wanted, f"{subject} updated")


def _version_error(aggregate: Aggregate, state: Any, meta: CommandMeta) -> str | None:
    if not meta.HasField("expected_version") or meta.expected_version == state.version:
        return None
    return f"the {aggregate.label} is at version {state.version}, not {meta.expected_version}"


def _unknown(kind: str) -> str:
    return f"no command is called {kind[:100]}" if kind else "the command has no kind"


def _rejected(state: Any | None, reason: Notice.Reason, message: str) -> Outcome:
    return Outcome(Notice.REJECTED, state, message, reason)
