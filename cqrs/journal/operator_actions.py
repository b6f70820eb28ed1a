"""What operators decide about parked commands, written on the journal's rows, from where it is sent."""

from datetime import timedelta

from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows
from cqrs.journal.clock import now
from cqrs.journal.commands import MAX_ACTOR
from cqrs.journal.errors import NotOperable
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record, expected_version, records
from cqrs.journal.settlement import State
from protocol.cqrs_command_pb2 import Command


def operate(
    cursor: CursorWrapper,
    operation: str,
    parked: Command,
    notice: int,
    *,
    actor: str,
    delay: float,
    amended: Command | None = None,
) -> Record:
    """Writes the decision on the row of the command, and returns what is to be sent; runs in a transaction.

    operation: of Row.Operation. parked: the command as it is parked. amended: for AMEND, as it is to be. notice: the
    number of the newest notice of its parking. A command that the journal does not have, of a foreign client, is
    adopted: it is journaled as it is parked. delay: seconds, for that.
    Decided twice alike is decided once. Raises NotOperable.
    """
    row = _locked(parked.meta.command_id) or _adopt(cursor, parked, delay)
    if row.settled_at is not None and row.state != State.HANDED_OVER:
        raise NotOperable(f"command {row.command_id} is {State(row.state).label} already")
    decided: dict[str, object] = {"operation": operation, "operation_notice": notice}
    if amended is not None:
        decided |= {"amended_body": amended.body, "amended_version": expected_version(amended)}
    if row.operation_open and row.operation_notice == notice:
        if any(getattr(row, field) != value for field, value in decided.items()):
            by = row.operation_by or "an operator"
            raise NotOperable(f"to {row.operation.lower()} command {row.command_id}, as {by} decided, is on its way")
    else:
        decided |= {"operation_by": actor, "operation_at": now(), "operation_open": True}
        if row.settled_at is not None:
            # It was given up on, but its notice of being parked came all the same.
            decided |= {"state": State.PARKED, "settled_at": None}
        Row.objects.using(rows.database()).filter(pk=row.pk).update(**decided)
    (record,) = records(Row.objects.using(rows.database()).filter(pk=row.pk))
    return record


def _locked(command_id: str) -> Row | None:
    """The row; until the transaction ends no other decides about it."""
    return Row.objects.using(rows.database()).select_for_update().filter(command_id=command_id).first()


def _adopt(cursor: CursorWrapper, parked: Command, delay: float) -> Row:
    moment, meta = now(), parked.meta
    aggregate, _, verb = parked.kind.partition(".")
    (number,) = rows.draw(cursor, 1)
    return Row.objects.using(rows.database()).create(
        number=number,
        command_id=meta.command_id,
        aggregate=aggregate,
        verb=verb,
        aggregate_id=parked.aggregate_id,
        body=parked.body,
        expected_version=expected_version(parked),
        actor=meta.actor[:MAX_ACTOR],
        depends_on=meta.depends_on,
        accepted_at=moment - timedelta(seconds=delay),
        takes_effect_at=moment,
        state=State.PARKED,
    )
