"""The journal's SQL. Every function runs on the Django connection of the calling thread.

Whoever inserts holds the write lock from before it reads until it commits (`writing`): so numbers become visible in
their order, and who has read up to a number has seen all that will ever stand before it.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q

from cqrs.engines import Lock, engine_of
from cqrs.journal.clock import now
from cqrs.journal.errors import NotCancellable, UnknownCommand
from cqrs.journal.models import Command as Row
from cqrs.journal.pending import Key
from cqrs.journal.record import Record, records
from cqrs.journal.settlement import Settlement, State

TABLE = Row._meta.db_table
# What was handed over may turn out to be settled; what is settled stays as it is.
_CAN_END = f"(settled_at IS NULL OR state = '{State.HANDED_OVER}')"
# Values in one statement.
CHUNK = 1000


def database() -> str:
    """The name of the database that the journal is in."""
    return router.db_for_write(Row)


@contextlib.contextmanager
def writing() -> Iterator[CursorWrapper]:
    """A cursor in a transaction that holds the write lock. In a caller's transaction it is part of that."""
    name = database()
    with transaction.atomic(using=name), connections[name].cursor() as cursor:
        engine_of(name).lock(cursor, Lock.JOURNAL)
        yield cursor


def highest_number(cursor: CursorWrapper) -> int:
    cursor.execute(f"SELECT COALESCE(MAX(number), 0) FROM {TABLE}")
    return int(cursor.fetchone()[0])


def unsettled_after(number: int) -> list[tuple[int, str, Key, datetime]]:
    """Number, command id, aggregate and due time of the unsettled rows after `number`, in order."""
    rows = Row.objects.using(database()).filter(settled_at=None, number__gt=number).order_by("number")
    columns = rows.values_list("number", "command_id", "aggregate", "aggregate_id", "takes_effect_at")
    return [(row_number, command_id, (name, its_id), due) for row_number, command_id, name, its_id, due in columns]


def last_unsettled(aggregate: str, aggregate_id: str, after: int = 0) -> str:
    """The last unsettled command of the aggregate among the rows after a number, or an empty string."""
    rows = Row.objects.using(database()).filter(settled_at=None, aggregate=aggregate, aggregate_id=aggregate_id)
    if after:
        rows = rows.filter(number__gt=after)
    # Asked for in their order, SQLite would rather walk through the whole table than through what is unsettled.
    return max(rows.order_by().values_list("number", "command_id"), default=(0, ""))[1]


def room(limit: int) -> int:
    """How many more commands may be unsettled. Counts no further than `limit`."""
    return limit - Row.objects.using(database()).filter(settled_at=None)[:limit].count()


def queued_of(owner: str, after: int, up_to: int, limit: int, *, unsent: bool) -> list[Record]:
    """The first QUEUED rows of a gateway behind a number, up to another, in order.

    unsent: none that the broker has acknowledged.
    """
    rows = Row.objects.using(database()).filter(settled_at=None, owner=owner, state=State.QUEUED)
    rows = rows.filter(number__gt=after, number__lte=up_to)
    if unsent:
        rows = rows.filter(sent_at=None)
    return records(rows.order_by("number")[:limit])


def due_before(moment: datetime, after: tuple[datetime, int] | None, limit: int) -> list[Record]:
    """The first unsettled rows due before `moment`, by due time and number, after those given."""
    rows = Row.objects.using(database()).filter(settled_at=None, takes_effect_at__lt=moment)
    if after is not None:
        time, number = after
        rows = rows.filter(Q(takes_effect_at__gt=time) | Q(number__gt=number), takes_effect_at__gte=time)
    return records(rows.order_by("takes_effect_at", "number")[:limit])


def cancels(limit: int) -> list[Record]:
    """The first unsettled rows whose cancel was asked for."""
    rows = Row.objects.using(database()).filter(settled_at=None, cancel_requested_at__isnull=False)
    return records(rows.order_by("number")[:limit])


def operations(limit: int) -> list[Record]:
    """The unsettled rows with an operation on its way, the newest `limit` of them, in order."""
    rows = Row.objects.using(database()).filter(settled_at=None, operation_open=True)
    return sorted(records(rows.order_by("-operation_at")[:limit]), key=lambda record: record.number)


def claim(owner: str, previous: str, numbers: Sequence[int] | None, limit: int) -> list[Record]:
    """Makes unsent rows of the owner `previous` those of `owner`, and returns them. numbers: only these; None: any.

    Runs in `writing`, so that of several gateways one gets a row.
    """
    rows = Row.objects.using(database()).filter(settled_at=None, owner=previous, sent_at=None)
    if numbers is not None:
        rows = rows.filter(number__in=numbers)
    found = records(rows.order_by("number")[:limit])
    if found:
        Row.objects.using(database()).filter(number__in=[record.number for record in found]).update(owner=owner)
    return [record._replace(owner=owner) for record in found]


def settle(cursor: CursorWrapper, settlements: Mapping[str, Settlement]) -> None:
    """Records what became of commands; those that have ended stay as they are."""
    # All that was committed together has one time, and adapting each costs more than half of what SQLite takes for it.
    adapt = functools.cache(connections[database()].ops.adapt_datetimefield_value)
    ends: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for command_id, (state, message, reason, version, settled_at, notice) in settlements.items():
        values = (state, message, reason, version, adapt(settled_at))
        if state in (State.PARKED, State.HANDED_OVER):
            others.append((*values, notice, command_id))
        else:
            ends.append((*values, notice or None, command_id))
    update = f"UPDATE {TABLE} SET state=%s, message=%s, reason=%s, version=%s, settled_at=%s"
    if others:
        # A newer notice than the one that an operation answers is what came of it.
        answered = ", operation_open = (operation_open AND operation_notice >= %s)"
        cursor.executemany(update + answered + " WHERE command_id=%s AND settled_at IS NULL", others)
    if ends:
        cursor.executemany(f"{update}, notice_number=%s WHERE command_id=%s AND {_CAN_END}", ends)


def mark_sent(command_ids: Iterable[str]) -> None:
    """Records that the broker has acknowledged these."""
    for ids in chunks(list(command_ids)):
        Row.objects.using(database()).filter(command_id__in=ids).update(sent_at=now())


def cancel(command_id: str, actor: str) -> Record:
    """Writes on the row that the command is to be cancelled. Raises UnknownCommand or NotCancellable."""
    rows = Row.objects.using(database()).filter(command_id=command_id)
    asked = rows.filter(settled_at=None, cancel_requested_at=None).update(
        cancel_requested_at=now(), cancel_requested_by=actor
    )
    found = records(rows)
    if not found:
        raise UnknownCommand(f"there is no command {command_id} in the journal")
    record = found[0]
    if not asked and record.state not in (State.QUEUED, State.PARKED):
        raise NotCancellable(f"command {command_id} is {State(record.state).label} already")
    return record


def find(command_id: str) -> Row | None:
    return Row.objects.using(database()).filter(command_id=command_id).first()


def ended(command_ids: Sequence[str]) -> dict[str, Settlement]:
    """The ends of those of the commands that have one in the journal."""
    rows = Row.objects.using(database()).filter(command_id__in=command_ids, settled_at__isnull=False)
    return {
        command_id: Settlement(state, message, reason, version, settled_at)
        for command_id, state, message, reason, version, settled_at in rows.values_list(
            "command_id", "state", "message", "reason", "version", "settled_at"
        )
    }


def chain_anew() -> int:
    """Has unsettled rows that wait for a settled one wait for the last unsettled one of their aggregate before them.

    For another database than the one in which that ended, which may never know of it. Returns how many there were.
    """
    rows = Row.objects.using(database()).filter(settled_at=None)
    columns = list(
        rows.order_by("number").values_list("number", "command_id", "aggregate", "aggregate_id", "depends_on")
    )
    unsettled = {command_id for _, command_id, *_ in columns}
    last: dict[Key, str] = {}
    changed = 0
    for number, command_id, aggregate, aggregate_id, depends_on in columns:
        key = (aggregate, aggregate_id)
        if depends_on and depends_on not in unsettled:
            rows.filter(number=number).update(depends_on=last.get(key, ""))
            changed += 1
        last[key] = command_id
    return changed


def prune(settled_before: datetime, limit: int = CHUNK) -> int:
    """Deletes the first `limit` rows settled before a moment; returns how many there were."""
    rows = Row.objects.using(database()).filter(settled_at__lt=settled_before).order_by("settled_at")
    numbers = list(rows.values_list("number", flat=True)[:limit])
    deleted, _ = Row.objects.using(database()).filter(number__in=numbers).delete()
    return deleted


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
