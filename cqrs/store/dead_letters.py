"""Parked commands as they are kept: tried again after 1, 2, 4, 8 and 16 s, then left to a person."""

import traceback
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q

from cqrs.engines import engine_of
from cqrs.store.database import ALIAS
from cqrs.store.models import MAX_ERROR, MAX_MESSAGE_TEXT, ParkedCommand

RETRIES = 5


class Parking(NamedTuple):
    """A command to be parked, or that stays parked.

    notice: the number of the notice that says so; 0: none does, since it was merely tried again by itself.
    """

    command_id: str
    contact_id: str
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
    """Keeps the commands as parked."""
    for parking in parkings:
        if parking.first:
            row = ParkedCommand(command_id=parking.command_id, contact_id=parking.contact_id, parked_at=now)
        else:
            row = ParkedCommand.objects.using(ALIAS).get(pk=parking.command_id)
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
        row.save(using=ALIAS, force_insert=parking.first)


def release(command_ids: Sequence[str], now: int) -> None:
    """Drops the commands, which are settled, and makes due those that were parked behind them."""
    if not command_ids:
        return
    ParkedCommand.objects.using(ALIAS).filter(command_id__in=command_ids).delete()
    ParkedCommand.objects.using(ALIAS).filter(behind__in=command_ids).update(behind="", next_attempt_at=now)


def postpone(command_ids: Sequence[str], now: int) -> None:
    """Lets commands wait a second that were due while what they depend on is neither settled nor parked."""
    if command_ids:
        ParkedCommand.objects.using(ALIAS).filter(command_id__in=command_ids).update(next_attempt_at=now + 1000)


def _text_of(error: Exception | None) -> str:
    """The error with where it was raised; of a long one the end, which says most."""
    return "".join(traceback.format_exception(error))[-MAX_ERROR:].replace("\0", "") if error else ""
