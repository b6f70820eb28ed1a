"""Notices, read by command or by position."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from cqrs.engines import select_in
from cqrs.store import rows
from cqrs.store.database import ALIAS, cursor
from cqrs.store.errors import PositionTooOld, PositionUnknown
from cqrs.store.messages import NOTICE_COLUMNS, NoticeRow, notice_of
from cqrs.store.positions import BEGINNING, number_of, position_of
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.rules import id_error

# Notices in one batch at most, and bytes of the states in it. A batch of both holds 3.5 MiB, a gRPC message 4.
MAX_BATCH = 1000
MAX_STATES = 1_000_000


R = TypeVar("R", Notice, NoticeRow)


class Head(NamedTuple):
    """The newest notice there is (number 0: none yet), and the database it is of."""

    database: str
    number: int
    position: str


def head() -> Head:
    """Where the history ends."""
    with cursor() as on:
        return _head(on)


def outcomes(command_ids: Sequence[str]) -> NoticeBatch:
    """The newest notice of each command that has one; beyond 1,000,000 bytes of states without its state."""
    with cursor() as on:
        end = _head(on)
        # A text that is no id is none of a command, and may be one that the database refuses.
        command_ids = [command_id for command_id in dict.fromkeys(command_ids) if id_error(command_id) is None]
        final = f"SELECT {NOTICE_COLUMNS} FROM notice WHERE command_id IN ({{}}) AND {rows.IS_FINAL}"
        found = [NoticeRow._make(row) for row in select_in(on, final, command_ids)]
        known = {row.command_id for row in found}
        # An unsettled command has a notice only while it is parked; the index by command knows final notices alone.
        found += _of_parked(on, [command_id for command_id in command_ids if command_id not in known])
        with_state = fitting(found)
        stateless = [row._replace(state=b"") for row in found[len(with_state) :]]
        return _batch(end, [notice_of(end.database, row) for row in (*with_state, *stateless)])


def after(position: str, limit: int) -> NoticeBatch:
    """Up to `limit` notices that follow on `position`; none after "", which is the end of the history.

    Raises PositionInvalid, PositionTooOld, PositionUnknown.
    """
    with cursor() as on:
        if not position:
            return _batch(_head(on), [])
        number = number_of(position)
        database = rows.identity(on)
        if number:
            _check(on, database, number, position)
        found = _since(on, number, limit)
        if not number and found and found[0].number != 1:
            raise PositionTooOld
        # Last, so that it is not older than what was found.
        return _batch(_head(on), [notice_of(database, row) for row in found])


def since(number: int, limit: int) -> NoticeBatch:
    """Up to `limit` notices that follow on the notice of this number, which is known to be of this history.

    Raises PositionTooOld.
    """
    with cursor() as on:
        found = _since(on, number, limit)
        if found and found[0].number != number + 1:
            raise PositionTooOld
        end = _head(on)
        return _batch(end, [notice_of(end.database, row) for row in found])


def fitting(found: Iterable[R]) -> list[R]:
    """The first notices, as many as fit in a batch by the bytes of their states; one at least."""
    fits: list[R] = []
    size = 0
    for each in found:
        size += len(each.state)
        if fits and size > MAX_STATES:
            break
        fits.append(each)
    return fits


def prune(before: int, limit: int = MAX_BATCH) -> int:
    """Deletes the oldest notices committed before a time (milliseconds), `limit` at most; returns how many.

    From the beginning of the history on, so that there is no gap; never the newest, after which the next is numbered.
    No later command needs them. A settled command is sent again, or has a successor on its way, for some seconds, or
    for the length of an outage; notices are kept for months. A parked command, which may wait longer, needs no notice:
    it depends on no command that was settled before it was parked, and its own row says that it is parked.
    """
    with transaction.atomic(using=ALIAS), cursor() as on:
        rows.identity(on, lock=True)
        newest = rows.last_number(on)
        on.execute("SELECT number, committed_at FROM notice ORDER BY number LIMIT %s", [limit])
        last, count = 0, 0
        for number, committed_at in on.fetchall():
            if committed_at >= before or number == newest:
                break
            last, count = number, count + 1
        if count:
            on.execute("DELETE FROM notice WHERE number <= %s", [last])
        return count


def _of_parked(on: CursorWrapper, command_ids: Sequence[str]) -> list[NoticeRow]:
    """The newest notices of the parked ones of the commands; made anew where they were pruned."""
    columns = "command_id, notice, aggregate, aggregate_id, payload, cause, parked_at"
    parked = select_in(on, f"SELECT {columns} FROM parked_command WHERE command_id IN ({{}})", command_ids)
    standing = {row[1]: row for row in parked}
    statement = f"SELECT {NOTICE_COLUMNS} FROM notice WHERE number IN ({{}})"
    found = [NoticeRow._make(row) for row in select_in(on, statement, list(standing))]
    for row in found:
        del standing[row.number]
    return found + [
        NoticeRow(
            number=number,
            command_id=command_id,
            kind=Notice.PARKED,
            aggregate=aggregate,
            command_kind=Command.FromString(bytes(payload)).kind,
            aggregate_id=aggregate_id,
            state=b"",
            version=0,
            summary="",
            message=f"Parked: {cause}",
            reason=Notice.NONE,
            actor="",
            depends_on="",
            committed_at=parked_at,
        )
        for command_id, number, aggregate, aggregate_id, payload, cause, parked_at in standing.values()
    ]


def _check(on: CursorWrapper, database: str, number: int, position: str) -> None:
    """Raises if the notice `number` is not the one that `position` is of."""
    on.execute("SELECT command_id, committed_at FROM notice WHERE number = %s", [number])
    if row := on.fetchone():
        if position_of(database, number, *row) != position:
            raise PositionUnknown
    elif number > rows.last_number(on):
        raise PositionUnknown
    else:
        raise PositionTooOld


def _since(on: CursorWrapper, number: int, limit: int) -> list[NoticeRow]:
    on.execute(
        f"SELECT {NOTICE_COLUMNS} FROM notice WHERE number > %s ORDER BY number LIMIT %s",
        [number, min(limit, MAX_BATCH)],
    )
    return fitting(map(NoticeRow._make, on.fetchall()))


def _head(on: CursorWrapper) -> Head:
    database = rows.identity(on)
    on.execute("SELECT number, command_id, committed_at FROM notice ORDER BY number DESC LIMIT 1")
    if row := on.fetchone():
        return Head(database, row[0], position_of(database, *row))
    return Head(database, 0, BEGINNING)


def _batch(end: Head, notices: Sequence[Notice]) -> NoticeBatch:
    return NoticeBatch(notice=notices, head=end.position, database=end.database)
