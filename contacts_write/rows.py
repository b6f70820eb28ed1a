"""The journal's SQL. Every function runs on the Django connection of the calling thread.

Whoever inserts holds the write lock from before it reads until it commits (`writing`): so numbers become visible in
their order, and who has read up to a number has seen all that will ever stand before it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q, QuerySet

from contacts_write.commands import body_of, kind_of
from contacts_write.entry import Accepted, Entry
from contacts_write.errors import JournalFull, KeyConflict, NotCancellable, UnknownCommand
from contacts_write.models import Command as Row
from contacts_write.settlement import Settlement, State, now
from protocol.contact_pb2 import Contact
from protocol.contact_write_pb2 import Command

_TABLE = Row._meta.db_table
# What was handed over may turn out to be settled; what is settled stays as it is.
_CAN_END = f"(settled_at IS NULL OR state = '{State.HANDED_OVER}')"
# The key of PostgreSQL's lock, of our choosing.
_LOCK = 7_263_114_905
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
        # SQLite's IMMEDIATE transactions have the lock from the beginning.
        if connections[name].vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield cursor


class Acceptance:
    """Takes the commands of one transaction, then writes them.

    delay: seconds from acceptance to effect. owner: the gateway process that sends them; empty: none yet.
    room: how many may be taken. last_of: the last unsettled command of a contact, before this transaction.
    """

    def __init__(
        self, cursor: CursorWrapper, delay: float, owner: str, room: int, last_of: Callable[[str], str]
    ) -> None:
        self._cursor = cursor
        self._owner = owner
        self._room = room
        self._last_of = last_of
        self.accepted_at = now()
        self.takes_effect_at = self.accepted_at + timedelta(seconds=delay)
        self._known: dict[str, Entry] = {}
        self._taken: list[Entry] = []
        self._last: dict[str, str] = {}

    def look_up(self, command_ids: Iterable[str]) -> None:
        """Finds out which of these commands the journal has."""
        for ids in _chunks(list(command_ids)):
            # Nearly always there is none, and building this query with the ORM would cost half of the commit.
            self._cursor.execute(f"SELECT command_id FROM {_TABLE} WHERE command_id IN ({_marks(ids)})", ids)
            if known := [command_id for (command_id,) in self._cursor.fetchall()]:
                found = entries(Row.objects.using(database()).filter(command_id__in=known))
                self._known.update((entry.command_id, entry) for entry in found)

    def take(self, commands: Sequence[Command]) -> list[Accepted]:
        """Takes all of the commands or, raising KeyConflict or JournalFull, none.

        Those that are known (looked up, or taken before) get the answer they got then.
        """
        new: dict[str, Entry] = {}
        entries = []
        for command in commands:
            entry = self._entry(command)
            known = self._known.get(entry.command_id) or new.get(entry.command_id)
            if known is None:
                new[entry.command_id] = known = entry
            else:
                _check_same(known, entry)
            entries.append(known)
        if new and len(self._taken) + len(new) > self._room:
            raise JournalFull("too many commands are unsettled: try again later")
        for entry in new.values():
            last = self._last.get(entry.contact_id)
            entry = entry._replace(depends_on=self._last_of(entry.contact_id) if last is None else last)
            self._last[entry.contact_id] = entry.command_id
            self._known[entry.command_id] = entry
            self._taken.append(entry)
        return [entry.accepted() for entry in entries]

    def write(self) -> list[Entry]:
        """Inserts what was taken, in order, and returns it with its numbers."""
        if not self._taken:
            return []
        adapt = connections[database()].ops.adapt_datetimefield_value
        accepted_at, takes_effect_at = adapt(self.accepted_at), adapt(self.takes_effect_at)
        # Measured beside one INSERT of many rows, in an idle and in a busy process: no slower, and simpler.
        self._cursor.executemany(
            f"INSERT INTO {_TABLE} (command_id, kind, contact_id, name, expected_version, actor, depends_on,"
            " accepted_at, takes_effect_at, owner, state, message, reason, cancel_requested_by)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '{State.QUEUED}', '', '', '')",
            [(*entry[1:8], accepted_at, takes_effect_at, self._owner) for entry in self._taken],
        )
        # Nobody else inserts meanwhile, so these have the last numbers, in order.
        last = highest_number(self._cursor)
        first = last - len(self._taken) + 1
        return [entry._replace(number=number) for number, entry in enumerate(self._taken, first)]

    def _entry(self, command: Command) -> Entry:
        body = body_of(command)
        meta = body.meta
        return Entry(
            0,
            meta.command_id,
            kind_of(command),
            body.id,
            body.name if isinstance(body, Contact) else "",
            meta.expected_version if meta.HasField("expected_version") else None,
            meta.actor,
            "",
            self.accepted_at,
            self.takes_effect_at,
            self._owner,
            State.QUEUED,
            None,
            None,
        )


def _check_same(known: Entry, asked: Entry) -> None:
    """Raises KeyConflict unless both have the same arguments. Who sends it makes no difference."""
    differences = [
        f"{what} was {was!r} and is now {is_now!r}"
        for what, was, is_now in (
            ("kind", known.kind, asked.kind),
            ("id", known.contact_id, asked.contact_id),
            ("name", known.name, asked.name),
            ("expected version", known.expected_version, asked.expected_version),
        )
        if was != is_now
    ]
    if differences:
        raise KeyConflict(
            f"command id {asked.command_id} was used before with other arguments: {', '.join(differences)}"
        )


def highest_number(cursor: CursorWrapper) -> int:
    cursor.execute(f"SELECT COALESCE(MAX(number), 0) FROM {_TABLE}")
    return int(cursor.fetchone()[0])


def unsettled_after(number: int) -> list[tuple[int, str, str, datetime]]:
    """Number, command id, contact id and due time of the unsettled rows after `number`, in order."""
    rows = Row.objects.using(database()).filter(settled_at=None, number__gt=number).order_by("number")
    return list(rows.values_list("number", "command_id", "contact_id", "takes_effect_at"))


def last_unsettled(contact_id: str) -> str:
    """The last unsettled command of the contact, or an empty string."""
    rows = Row.objects.using(database()).filter(settled_at=None, contact_id=contact_id).order_by("-number")
    return rows.values_list("command_id", flat=True).first() or ""


def room(limit: int) -> int:
    """How many more commands may be unsettled. Counts no further than `limit`."""
    return limit - Row.objects.using(database()).filter(settled_at=None)[:limit].count()


def entries(rows: QuerySet[Row]) -> list[Entry]:
    return [Entry._make(values) for values in rows.values_list(*Entry._fields)]


def queued_of(owner: str, after: int, limit: int, *, unsent: bool) -> list[Entry]:
    """The first QUEUED rows of a gateway after a number, in order. unsent: none that the broker has acknowledged."""
    rows = Row.objects.using(database()).filter(settled_at=None, owner=owner, number__gt=after, state=State.QUEUED)
    if unsent:
        rows = rows.filter(sent_at=None)
    return entries(rows.order_by("number")[:limit])


def due_before(moment: datetime, after: tuple[datetime, int] | None, limit: int) -> list[Entry]:
    """The first unsettled rows due before `moment`, by due time and number, after those given."""
    rows = Row.objects.using(database()).filter(settled_at=None, takes_effect_at__lt=moment)
    if after is not None:
        time, number = after
        rows = rows.filter(Q(takes_effect_at__gt=time) | Q(number__gt=number), takes_effect_at__gte=time)
    return entries(rows.order_by("takes_effect_at", "number")[:limit])


def cancels(limit: int) -> list[Entry]:
    """The first unsettled rows whose cancel was asked for."""
    rows = Row.objects.using(database()).filter(settled_at=None, cancel_requested_at__isnull=False)
    return entries(rows.order_by("number")[:limit])


def claim(owner: str, previous: str, numbers: Sequence[int] | None, limit: int) -> list[Entry]:
    """Makes unsent rows of the owner `previous` those of `owner`, and returns them. numbers: only these; None: any.

    Runs in `writing`, so that of several gateways one gets a row.
    """
    rows = Row.objects.using(database()).filter(settled_at=None, owner=previous, sent_at=None)
    if numbers is not None:
        rows = rows.filter(number__in=numbers)
    found = entries(rows.order_by("number")[:limit])
    if found:
        Row.objects.using(database()).filter(number__in=[entry.number for entry in found]).update(owner=owner)
    return [entry._replace(owner=owner) for entry in found]


def settle(cursor: CursorWrapper, settlements: Mapping[str, Settlement]) -> None:
    """Records what became of commands; those that have ended stay as they are."""
    adapt = connections[database()].ops.adapt_datetimefield_value
    ends: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for command_id, (state, message, reason, version, settled_at) in settlements.items():
        values = (state, message, reason, version, adapt(settled_at), command_id)
        (others if state in (State.PARKED, State.HANDED_OVER) else ends).append(values)
    update = f"UPDATE {_TABLE} SET state=%s, message=%s, reason=%s, version=%s, settled_at=%s WHERE command_id=%s AND "
    if others:
        cursor.executemany(update + "settled_at IS NULL", others)
    if ends:
        cursor.executemany(update + _CAN_END, ends)


def mark_sent(command_ids: Iterable[str]) -> None:
    """Records that the broker has acknowledged these."""
    for ids in _chunks(list(command_ids)):
        Row.objects.using(database()).filter(command_id__in=ids).update(sent_at=now())


def cancel(command_id: str, actor: str) -> Entry:
    """Writes on the row that the command is to be cancelled. Raises UnknownCommand or NotCancellable."""
    rows = Row.objects.using(database()).filter(command_id=command_id)
    asked = rows.filter(settled_at=None, cancel_requested_at=None).update(
        cancel_requested_at=now(), cancel_requested_by=actor
    )
    found = entries(rows)
    if not found:
        raise UnknownCommand(f"there is no command {command_id} in the journal")
    entry = found[0]
    if not asked and entry.state not in (State.QUEUED, State.PARKED):
        raise NotCancellable(f"command {command_id} is {State(entry.state).label} already")
    return entry


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


def prune(settled_before: datetime, limit: int = CHUNK) -> int:
    """Deletes the first `limit` rows settled before a moment; returns how many there were."""
    rows = Row.objects.using(database()).filter(settled_at__lt=settled_before).order_by("settled_at")
    numbers = list(rows.values_list("number", flat=True)[:limit])
    deleted, _ = Row.objects.using(database()).filter(number__in=numbers).delete()
    return deleted


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
