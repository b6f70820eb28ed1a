"""The one way aggregates change: a batch of commands becomes effects and notices in one transaction."""

import logging
from collections.abc import Mapping, Sequence

from django.db import Error, transaction

from cqrs.aggregate import registry
from cqrs.engines import Violation, engine_of
from cqrs.store import dead_letters
from cqrs.store.database import ALIAS, cursor, now_ms
from cqrs.store.incoming import IncomingCommand, incoming_of
from cqrs.store.unit_of_work import Applied, UnitOfWork
from protocol.cqrs_command_pb2 import Command

log = logging.getLogger("cqrs.store.apply")

# Parked commands tried again in one transaction.
_RETRIED_AT_ONCE = 100


def apply(commands: Sequence[Command]) -> Applied:
    """Applies the commands that have their turn, in one transaction with their notices.

    A known command id changes nothing. Commands go in the order given, but none before the one it depends on: where
    that is not settled, they are deferred; where it is parked, they are parked behind it. A command that violates a
    constraint is rejected, a defective one parked, each alone: the others are applied. Raises the database's errors
    when nothing could be committed.
    """
    return apply_incoming(incoming_of(commands))


def apply_incoming(commands: Sequence[IncomingCommand]) -> Applied:
    """As `apply`."""
    if not commands:
        return Applied([], [])
    try:
        with transaction.atomic(using=ALIAS):
            return _run(commands)
    except Exception as error:
        if _is_of_the_service(error):
            raise
        log.warning("the database refuses a batch of %d, trying them one by one: %s", len(commands), error)
    applied = Applied([], [])
    with transaction.atomic(using=ALIAS):
        for incoming in commands:
            one = _apply_alone(incoming)
            applied.notices.extend(one.notices)
            applied.deferred.extend(one.deferred)
    return applied


def retry_parked() -> Applied:
    """Tries the parked commands again that are due, as `apply` does."""
    now = now_ms()
    due = [Command.FromString(bytes(row.payload)) for row in dead_letters.due(now, _RETRIED_AT_ONCE)]
    applied = apply_incoming(incoming_of(due, retried=True))
    dead_letters.postpone(applied.deferred, now)
    return applied


def _apply_alone(incoming: IncomingCommand) -> Applied:
    declared = registry().get(incoming.aggregate)
    try:
        with transaction.atomic(using=ALIAS):
            return _run([incoming])
    except Exception as error:
        if _is_of_the_service(error):
            raise
        violation = engine_of(ALIAS).violation(error, declared.store.model) if declared is not None else None
        if violation is not None:
            return _run([incoming], {incoming.command_id: violation})
        log.exception("command=%s: the database refuses it, it is parked", incoming.command_id)
        return _run([incoming], {incoming.command_id: error})


def _is_of_the_service(error: Exception) -> bool:
    """Whether all commands would fail alike. Of one command is a row that is refused, or a defect of our own."""
    return isinstance(error, Error) and not engine_of(ALIAS).is_of_the_row(error)


def _run(commands: Sequence[IncomingCommand], refused: Mapping[str, Exception | Violation] | None = None) -> Applied:
    with cursor() as on:
        work = UnitOfWork(on, now_ms(), refused or {})
        work.take(commands)
        return work.write()
