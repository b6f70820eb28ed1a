"""Parked commands as they are kept: tried again after 1, 2, 4, 8 and 16 s, then left to a person."""

import traceback
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q

from cqrs.engines import engine_of
from cqrs.store.database import ALIAS
from cqrs.store.models import MAX_ERROR, MAX_MESSAGE_TEXT, ParkedCommand

RETRIES = 5

# Columns that change while a command stays parked.
_MUTABLE = ["payload", "cause", "error", "behind", "attempts", "next_attempt_at", "tried_at", "notice"]


class Parking(NamedTuple):
    """A command to be parked, or that stays parked.

    notice: the number of the notice that says so; 0: there is none, since it failed an automatic retry.
    first: it was not parked before.
    """

    command_id: str
    aggregate: str
    aggregate_id: str
    payload: bytes
    cause: str
    error: Exception | None
    behind: str
    notice: int
    first: bool


def cause_of(error: Exception) -> str:
    """One line that is equal where the defect is equal."""
    said = engine_of(ALIAS).message(error)
    return f"{type(error).__name__}: {said}"[: MAX_MESSAGE_TEXT // 2].replace("\0", "")


def due(now: int, limit: int) -> list[ParkedCommand]:
    """The parked commands whose time has come, in the order they were parked."""
    # No pause is so long: the clock was set back.
    late = Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=now + 1000 * 2**RETRIES)
    return list(ParkedCommand.objects.using(ALIAS).filter(late).order_by("notice")[:limit])


def write(parkings: Sequence[Parking], now: int) -> None:
    """Keeps the commands as parked, in a few statements however many they are."""
    if not parkings:
        return
    stored = ParkedCommand.objects.using(ALIAS)
    known = stored.in_bulk([parking.command_id for parking in parkings if not parking.first])
    # By id: a command that is parked twice in one transaction is written once, as it is parked last.
    rows: dict[str, ParkedCommand] = {}
    for parking in parkings:
        row = rows.get(parking.command_id) or known.get(parking.command_id)
        if row is None:
            row = ParkedCommand(
                command_id=parking.command_id,
                aggregate=parking.aggregate,
                aggregate_id=parking.aggregate_id,
                parked_at=now,
            )
        rows[parking.command_id] = row
        _fill(row, parking, now)
    stored.bulk_create(rows.values(), update_conflicts=True, unique_fields=["command_id"], update_fields=_MUTABLE)


def _fill(row: ParkedCommand, parking: Parking, now: int) -> None:
    if parking.notice:
        row.notice = parking.notice
        row.attempts = 0
    elif not parking.behind:
        row.attempts += 1
    if not parking.behind:
        row.tried_at = now
    row.payload = parking.payload
    row.cause = parking.cause
    row.error = _text_of(parking.error)
    row.behind = parking.behind
    tried_enough = row.attempts >= RETRIES
    row.next_attempt_at = None if parking.behind or tried_enough else now + 1000 * 2**row.attempts


def release(command_ids: Sequence[str], now: int) -> None:
    """Drops the commands, which are settled, and makes due those that were parked behind them."""
    if not command_ids:
        return
    ParkedCommand.objects.using(ALIAS).filter(command_id__in=command_ids).delete()
    ParkedCommand.objects.using(ALIAS).filter(behind__in=command_ids).update(behind="", next_attempt_at=now)


def postpone(command_ids: Sequence[str], now: int) -> None:
    """Lets due commands wait a second, since their predecessors are neither settled nor parked."""
    if command_ids:
        ParkedCommand.objects.using(ALIAS).filter(command_id__in=command_ids).update(next_attempt_at=now + 1000)


def _text_of(error: Exception | None) -> str:
    """The error with where it was raised; of a long one the end, which says most."""
    return "".join(traceback.format_exception(error))[-MAX_ERROR:].replace("\0", "") if error else ""
