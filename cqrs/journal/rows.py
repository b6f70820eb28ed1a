"""The journal's SQL. Every function runs on the Django connection of the calling thread.

Numbers over 0 become visible in their order, those under 0 in none: see `cqrs.journal.chain`.
"""

import contextlib
import functools
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q, QuerySet

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
# The numbers under 0 begin above this.
_UNDER = -(10**15)


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


@contextlib.contextmanager
def joining() -> Iterator[CursorWrapper]:
    """A cursor in a transaction without the write lock, or in a savepoint of a caller's; gateways hear of the commit.

    Whoever waits for a row that it changed waits for the caller's commit: gateways pass over such rows.
    """
    name = database()
    with transaction.atomic(using=name), connections[name].cursor() as cursor:
        yield cursor
        engine_of(name).announce(cursor, Lock.JOURNAL)


def changes(every: float) -> AsyncGenerator[None, None]:
    """Yields when the journal may have changed, once in `every` seconds at most; see `Engine.changes`."""
    return engine_of(database()).changes(Lock.JOURNAL, every)


def levels() -> tuple[int, bool]:
    """The highest number, and whether there are rows without an owner."""
    highest, waiting = _one(
        f"SELECT (SELECT COALESCE(MAX(number), 0) FROM {TABLE} WHERE number > 0),"
        f" EXISTS (SELECT 1 FROM {TABLE} WHERE settled_at IS NULL AND owner = '')"
    )
    return highest, bool(waiting)


def _one(statement: str, values: Sequence[Any] = ()) -> Any:
    """The one row of a statement that is asked so often that building it by the ORM would cost more than it does."""
    with connections[database()].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()


def _unsettled() -> QuerySet[Row]:
    return Row.objects.using(database()).filter(settled_at=None)


def _numbered() -> QuerySet[Row]:
    return _unsettled().filter(number__gt=0)


def draw(cursor: CursorWrapper, count: int) -> list[int]:
    """So many numbers under 0, in order, for rows without an owner."""
    return engine_of(database()).draw(cursor, TABLE, "number", _UNDER, count)


def without_owner(limit: int) -> list[Record]:
    """The first rows without an owner. Runs in `writing`.

    But for those that an open transaction has changed, and those of the same aggregates, whose order they would lose.
    """
    rows = _unsettled().filter(owner="", number__lt=0).order_by("number")
    seen = list(rows.values_list("number", "aggregate", "aggregate_id")[:limit])
    if not seen:
        return []
    found = records(rows.filter(number__lte=seen[-1][0]).select_for_update(skip_locked=True)[:limit])
    free = {record.number for record in found}
    locked = {(name, its_id) for number, name, its_id in seen if number not in free}
    return [record for record in found if record.key not in locked]


def renumber(numbers: Sequence[int], claimed: Sequence[Record]) -> None:
    """Writes number, owner and link of each on the row that had the number beside it."""
    values = [(each.number, each.owner, each.depends_on, before) for before, each in zip(numbers, claimed, strict=True)]
    with connections[database()].cursor() as cursor:
        cursor.executemany(f"UPDATE {TABLE} SET number=%s, owner=%s, depends_on=%s WHERE number=%s", values)


def unsettled_after(number: int) -> list[tuple[int, str, Key, datetime]]:
    """Number, command id, aggregate and due time of the unsettled rows after `number`, in order."""
    rows = _unsettled().filter(number__gt=number).order_by("number")
    columns = rows.values_list("number", "command_id", "aggregate", "aggregate_id", "takes_effect_at")
    return [(row_number, command_id, (name, its_id), due) for row_number, command_id, name, its_id, due in columns]


def unsettled_of(aggregate: str, aggregate_id: str, after: int) -> list[str]:
    """The unsettled commands of the aggregate among the rows after a number and those without an owner."""
    rows = _unsettled().filter(Q(number__gt=after) | Q(number__lt=0), aggregate=aggregate, aggregate_id=aggregate_id)
    return list(rows.values_list("command_id", flat=True).order_by())


def count_unsettled(limit: int) -> int:
    """How many commands are unsettled, counted no further than `limit`."""
    return _unsettled()[:limit].count()


def queued_of(owner: str, after: int, up_to: int, limit: int, *, unsent: bool) -> list[Record]:
    """The first QUEUED rows of a gateway behind a number, up to another, in order.

    unsent: none that the broker has acknowledged.
    """
    rows = _unsettled().filter(owner=owner, state=State.QUEUED)
    rows = rows.filter(number__gt=after, number__lte=up_to)
    if unsent:
        rows = rows.filter(sent_at=None)
    return records(rows.order_by("number")[:limit])


def due_before(moment: datetime, after: tuple[datetime, int] | None, limit: int) -> list[Record]:
    """The first unsettled rows due before `moment`, by due time and number, after those given."""
    adapt = connections[database()].ops.adapt_datetimefield_value
    earliest = [] if after is None else [adapt(after[0])]
    (some,) = _one(
        f"SELECT EXISTS (SELECT 1 FROM {TABLE} WHERE settled_at IS NULL AND number > 0 AND takes_effect_at < %s"
        f"{' AND takes_effect_at >= %s' if earliest else ''})",
        [adapt(moment), *earliest],
    )
    if not some:
        return []
    rows = _numbered().filter(takes_effect_at__lt=moment)
    if after is not None:
        time, number = after
        rows = rows.filter(Q(takes_effect_at__gt=time) | Q(number__gt=number), takes_effect_at__gte=time)
    return records(rows.order_by("takes_effect_at", "number")[:limit])


def decided(limit: int, *, cancels: bool) -> list[Record]:
    """The unsettled rows with an operation on its way, the newest `limit` of them, in order.

    cancels: behind them the first `limit` whose cancel was requested.
    """
    operated, cancelled = _one(
        f"SELECT EXISTS (SELECT 1 FROM {TABLE} WHERE settled_at IS NULL AND operation_open),"
        f" EXISTS (SELECT 1 FROM {TABLE} WHERE settled_at IS NULL AND cancel_requested_at IS NOT NULL)"
    )
    found: list[Record] = []
    if operated:
        newest = records(_numbered().filter(operation_open=True).order_by("-operation_at")[:limit])
        found += sorted(newest, key=lambda record: record.number)
    if cancelled and cancels:
        found += records(_numbered().filter(cancel_requested_at__isnull=False).order_by("number")[:limit])
    return found


def take_over(owner: str, previous: str, numbers: Sequence[int]) -> list[Record]:
    """Makes those of the rows that are unsent and of the owner `previous` those of `owner`, and returns them.

    Runs in `writing`, so that of several gateways one gets a row.
    """
    rows = _numbered().filter(owner=previous, sent_at=None, number__in=numbers)
    found = records(rows.order_by("number"))
    if found:
        Row.objects.using(database()).filter(number__in=[record.number for record in found]).update(owner=owner)
    return [record._replace(owner=owner) for record in found]


def settle(cursor: CursorWrapper, settlements: Mapping[str, Settlement]) -> set[str]:
    """Records what became of commands; those that have ended stay as they are.

    Returns those that could not be recorded yet: their rows are changed by a transaction that is still open.
    """
    # All that was committed together has one time, and adapting each costs more than half of what SQLite takes for it.
    connection = connections[database()]
    adapt = functools.cache(connection.ops.adapt_datetimefield_value)
    ends: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for command_id, (state, message, reason, version, settled_at, notice) in settlements.items():
        values = (state, message, reason, version, adapt(settled_at))
        if state in (State.PARKED, State.HANDED_OVER):
            others.append((*values, notice, command_id))
        else:
            ends.append((*values, notice or None, command_id))
    skips = connection.features.has_select_for_update_skip_locked
    passing = f" {connection.ops.for_update_sql(skip_locked=True)}" if skips else ""
    where = f"number = (SELECT number FROM {TABLE} WHERE command_id=%s AND {{}}{passing})"
    update = f"UPDATE {TABLE} SET state=%s, message=%s, reason=%s, version=%s, settled_at=%s"
    changed = 0
    if others:
        # A newer notice than the one that an operation answers is what came of it.
        answered = ", operation_open = (operation_open AND operation_notice >= %s)"
        cursor.executemany(f"{update}{answered} WHERE {where.format('settled_at IS NULL')}", others)
        changed += cursor.rowcount
    if ends:
        cursor.executemany(f"{update}, notice_number=%s WHERE {where.format(_CAN_END)}", ends)
        changed += cursor.rowcount
    if not skips or changed == len(settlements):
        return set()
    left = _unsettled().filter(command_id__in=list(settlements)).values_list("command_id", "state")
    # What was parked before may be parked anew.
    return {its_id for its_id, state in left if settlements[its_id].state != State.PARKED or state == State.QUEUED}


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
    rows = _numbered()
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
    """Deletes the first `limit` rows settled before a moment; returns how many there were.

    But for the last row: no number is given twice.
    """
    highest, _ = levels()
    rows = Row.objects.using(database()).filter(settled_at__lt=settled_before).exclude(number=highest)
    numbers = list(rows.order_by("settled_at").values_list("number", flat=True)[:limit])
    deleted, _ = Row.objects.using(database()).filter(number__in=numbers).delete()
    return deleted


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
