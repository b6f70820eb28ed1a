"""The statements that applying commands is made of, beside those of the aggregates' own rows.

SQL on Django's cursor, many rows a statement: applied through model instances a batch takes fifty times as long.
Statements for rare rows (parked commands) go through the models.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from cqrs.engines import Lock, engine_of, select_in
from cqrs.store.database import ALIAS, now_ms
from cqrs.store.errors import PositionInvalid
from cqrs.store.messages import NOTICE_COLUMNS, NoticeRow
from cqrs.store.models import FINAL, DatabaseIdentity
from cqrs.store.positions import number_of, position_of
from protocol.cqrs_notice_pb2 import Notice

# Recorded out of turn: a command that depends on one of these waits for that one's own predecessor.
VOIDED = (Notice.CANCELLED, Notice.DISCARDED)

# To the letter the condition of the one index by command, or it would not be used.
IS_FINAL = f"kind IN ({', '.join(map(str, FINAL))})"


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
    statement = "SELECT uuid FROM database_identity"
    cursor.execute(statement)
    row = cursor.fetchone()
    if row is None:
        # Of two that ask first the second insert does nothing.
        cursor.execute(
            "INSERT INTO database_identity (id, uuid, created_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [DatabaseIdentity.ROW, str(uuid.uuid4()), now_ms()],
        )
        cursor.execute(statement)
        row = cursor.fetchone()
    return str(row[0])


def last_number(cursor: CursorWrapper) -> int:
    """The number of the newest notice, 0 when there is none."""
    cursor.execute("SELECT MAX(number) FROM notice")
    return cursor.fetchone()[0] or 0


def of_another_history(cursor: CursorWrapper, database: str, last: int, positions: Collection[str]) -> set[str]:
    """The positions that are not of the history of `database`, whose newest notice has the number `last`.

    A position whose notice is not kept any more cannot be checked: it counts as being of this history.
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
    """Maps each settled command to the command its successors must wait for instead, or ""."""
    statement = f"SELECT command_id, kind, depends_on FROM notice WHERE command_id IN ({{}}) AND {IS_FINAL}"
    return {
        command_id: depends_on if kind in VOIDED else ""
        for command_id, kind, depends_on in select_in(cursor, statement, command_ids)
    }


def parked(cursor: CursorWrapper, command_ids: Sequence[str]) -> dict[str, Parked]:
    """The parked ones of the commands."""
    statement = "SELECT command_id, notice, payload FROM parked_command WHERE command_id IN ({})"
    return {
        command_id: Parked(notice, bytes(payload))
        for command_id, notice, payload in select_in(cursor, statement, command_ids)
    }


def insert_notices(cursor: CursorWrapper, notices: Sequence[NoticeRow]) -> None:
    engine = engine_of(ALIAS)
    engine.insert(cursor, "notice", NOTICE_COLUMNS, notices)
    engine.announce(cursor, Lock.STORE)
