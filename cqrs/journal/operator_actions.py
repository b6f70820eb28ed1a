"""What operators decide about parked commands, written on the journal's rows, from where it is sent."""

from datetime import timedelta

from cqrs.journal import rows
from cqrs.journal.commands import MAX_ACTOR, body_of, kind_of, meta_of
from cqrs.journal.entry import Entry
from cqrs.journal.errors import NotOperable
from cqrs.journal.models import Command as Row
from cqrs.journal.settlement import State, now
from protocol.contact_pb2 import Contact
from protocol.contact_write_pb2 import Command


def operate(
    kind: str, parked: Command, notice: int, *, actor: str, delay: float, amended: Command | None = None
) -> Entry:
    """Writes the decision on the row of the command, and returns what is to be sent; runs in `rows.writing`.

    kind: of Row.Operation. parked: the command as it is parked. amended: for AMEND, as it is to be. notice: the number
    of the newest notice of its parking. A command that the journal does not have, of a foreign client, is adopted: it
    is journaled as it is parked. delay: seconds, for that.
    Decided twice alike is decided once. Raises NotOperable.
    """
    row = rows.find(meta_of(parked).command_id) or _adopt(parked, delay)
    if row.settled_at is not None and row.state != State.HANDED_OVER:
        raise NotOperable(f"command {row.command_id} is {State(row.state).label} already")
    decided: dict[str, object] = {"operation": kind, "operation_notice": notice}
    if amended is not None:
        body = body_of(amended)
        version = body.meta.expected_version if body.meta.HasField("expected_version") else None
        name = body.name if isinstance(body, Contact) else ""
        decided |= {"amended": True, "amended_name": name, "amended_version": version}
    if row.operation_open and row.operation_notice == notice:
        if any(getattr(row, field) != value for field, value in decided.items()):
            by = row.operation_by or "an operator"
            raise NotOperable(f"to {row.operation.lower()} command {row.command_id}, as {by} decided, is on its way")
    else:
        decided |= {"operation_by": actor, "operation_at": now(), "operation_open": True}
        if row.settled_at is not None:
            # It was given up on, but is parked where we hear of it.
            decided |= {"state": State.PARKED, "settled_at": None}
        Row.objects.using(rows.database()).filter(pk=row.pk).update(**decided)
    (entry,) = rows.entries(Row.objects.using(rows.database()).filter(pk=row.pk))
    return entry


def _adopt(parked: Command, delay: float) -> Row:
    body = body_of(parked)
    moment = now()
    return Row.objects.using(rows.database()).create(
        command_id=body.meta.command_id,
        kind=kind_of(parked),
        contact_id=body.id,
        name=body.name[:200] if isinstance(body, Contact) else "",
        expected_version=body.meta.expected_version if body.meta.HasField("expected_version") else None,
        actor=body.meta.actor[:MAX_ACTOR],
        depends_on=body.meta.depends_on,
        accepted_at=moment - timedelta(seconds=delay),
        takes_effect_at=moment,
        state=State.PARKED,
    )
