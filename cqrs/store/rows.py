"""The statements that applying commands is made of.

SQL on Django's cursor, many rows a statement: applied through model instances a batch takes fifty times as long.
Whatever is rare (what is parked) goes through the models.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from cqrs.engines import Lock, engine_of, select_in
from cqrs.store.database import ALIAS, now_ms
from cqrs.store.errors import PositionInvalid
from cqrs.store.messages import CONTACT_COLUMNS, NOTICE_COLUMNS, NoticeRow, contact_of
from cqrs.store.models import FINAL, DatabaseIdentity
from cqrs.store.positions import number_of, position_of
from protocol.contact_pb2 import Contact
from protocol.notice_pb2 import Notice

# Recorded out of turn: who depends on one of these waits for what it would have waited for.
WITHDRAWN = (Notice.CANCELLED, Notice.DISCARDED)

# To the letter the condition of the one index by command, or it would not be used.
IS_FINAL = f"kind IN ({', '.join(map(str, FINAL))})"


class StoredContact(NamedTuple):
    """A contact and the number of the notice that added it."""

    contact: Contact
    added_by: int


class Parked(NamedTuple):
    """How a command is parked: the number of the newest notice that says so, and the command as it is kept."""

    notice: int
    payload: bytes


def identity(cursor: CursorWrapper, *, lock: bool = False) -> str:
    """The identity of the database, made when it has none yet.

    lock: also keeps every other transaction that asks so waiting until this one ends, since notices are numbered one
    after the other.
    """
    if lock:
        engine_of(ALIAS).lock(cursor, Lock.STORE)
    cursor.execute("SELECT uuid FROM database_identity")
    if row := cursor.fetchone():
        return str(row[0])
    made, _ = DatabaseIdentity.objects.using(ALIAS).get_or_create(
        pk=DatabaseIdentity.ROW, defaults={"created_at": now_ms()}
    )
    return str(made.uuid)


def last_number(cursor: CursorWrapper) -> int:
    """The number of the newest notice, 0 when there is none."""
    cursor.execute("SELECT MAX(number) FROM notice")
    return cursor.fetchone()[0] or 0


def elsewhere(cursor: CursorWrapper, database: str, last: int, positions: Collection[str]) -> set[str]:
    """Those of the positions that are not of the history of `database`, whose newest notice has the number `last`.

    Of one whose notice is not kept any more there is no telling: it counts as being of it.
    """
    unknown, numbers = set(), {}
    for position in positions:
        try:
            numbers[position] = number_of(position)
        except PositionInvalid:
            unknown.add(position)
    statement = "SELECT number, command_id, committed_at FROM notice WHERE number IN ({})"
    wanted = [number for number in set(numbers.values()) if 0 < number <= last]
    found = {row[0]: position_of(database, *row) for row in select_in(cursor, statement, wanted)}
    for position, number in numbers.items():
        if number > last or found.get(number, position) != position:
            unknown.add(position)
    return unknown


def settled(cursor: CursorWrapper, command_ids: Sequence[str]) -> dict[str, str]:
    """Those of the commands that are settled, each with what who depends on it waits for instead ("": nothing)."""
    statement = f"SELECT command_id, kind, depends_on FROM notice WHERE command_id IN ({{}}) AND {IS_FINAL}"
    return {
        command_id: depends_on if kind in WITHDRAWN else ""
        for command_id, kind, depends_on in select_in(cursor, statement, command_ids)
    }


def parked(cursor: CursorWrapper, command_ids: Sequence[str]) -> dict[str, Parked]:
    """Those of the commands that are parked."""
    statement = "SELECT command_id, notice, payload FROM parked_command WHERE command_id IN ({})"
    return {
        command_id: Parked(notice, bytes(payload))
        for command_id, notice, payload in select_in(cursor, statement, command_ids)
    }


def contacts(cursor: CursorWrapper, contact_ids: Sequence[str]) -> dict[str, StoredContact]:
    """Those of the contacts that there are."""
    statement = f"SELECT {CONTACT_COLUMNS}, added_by FROM contact WHERE id IN ({{}})"
    return {row[0]: StoredContact(contact_of(*row[:4]), row[4]) for row in select_in(cursor, statement, contact_ids)}


def insert_notices(cursor: CursorWrapper, notices: Sequence[NoticeRow]) -> None:
    engine = engine_of(ALIAS)
    engine.insert(cursor, "notice", NOTICE_COLUMNS, notices)
    engine.announce(cursor, Lock.STORE)


def write_contacts(
    cursor: CursorWrapper,
    before: dict[str, StoredContact],
    after: dict[str, StoredContact | None],
    last_updated: int,
) -> None:
    """Makes of the contacts as they are stored (`before`) what they are to be (`after`: those that changed)."""
    gone: list[tuple[str]] = []
    new: list[tuple[str, str, int, int, int]] = []
    changed: list[tuple[str, int, int, str]] = []
    for contact_id, wanted in after.items():
        was = before.get(contact_id)
        # Deleted and added again within one batch, it is another contact, with another place in the list.
        same = was is not None and wanted is not None and was.added_by == wanted.added_by
        if was is not None and not same:
            gone.append((contact_id,))
        if wanted is not None and same:
            changed.append((wanted.contact.name, wanted.contact.version, last_updated, contact_id))
        elif wanted is not None:
            new.append((contact_id, wanted.contact.name, wanted.contact.version, last_updated, wanted.added_by))
    _many(cursor, "DELETE FROM contact WHERE id = %s", gone)
    engine_of(ALIAS).insert(cursor, "contact", f"{CONTACT_COLUMNS}, added_by", new)
    _many(cursor, "UPDATE contact SET name = %s, version = %s, last_updated = %s WHERE id = %s", changed)


def _many(cursor: CursorWrapper, statement: str, rows: Sequence[tuple[str | int, ...]]) -> None:
    if rows:
        cursor.executemany(statement, rows)
