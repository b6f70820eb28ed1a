"""What the journal knows of what a database has lost. But for `write`, on the calling thread's Django connection."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import Count, Max, Min, QuerySet

from cqrs.journal import rows
from cqrs.journal.models import Command as Row
from cqrs.journal.models import TrackedHistory
from cqrs.journal.record import Record, records
from cqrs.journal.settlement import State
from protocol.cqrs_notice_pb2 import Notice

T = TypeVar("T")


class Plan(NamedTuple):
    """What a redrive would do."""

    why: str  # what happened to the database
    common: int  # the number of the last notice that it still has
    lost: int  # how many notices followed that
    applied: int  # commands of the journal that were applied by these
    ended: int  # commands of the journal that had no effect: rejected, cancelled, discarded
    pruned: int  # the first so many of the lost notices are of no command of the journal
    complete_from: datetime | None  # when the first of which there is one was settled
    waiting: int  # commands that are to be sent after it


def _rows() -> QuerySet[Row]:
    return Row.objects.using(rows.database())


def _in_order(after: int) -> QuerySet[Row]:
    """The rows whose end the notices after a number tell, in the order of these."""
    return _rows().filter(notice_number__gt=after).order_by("notice_number", "number")


def plan(row: TrackedHistory, why: str, common: int) -> tuple[list[int], Plan]:
    """The numbers of the rows to be sent again, in order, and what that means."""
    lost = _in_order(common)
    first = lost.first()
    found = lost.aggregate(last=Max("notice_number"), first=Min("notice_number"), count=Count("number"))
    applied = lost.filter(state=State.APPLIED).count()
    furthest = max(row.number, found["last"] or 0)
    plan = Plan(
        why=why,
        common=common,
        lost=furthest - common,
        applied=applied,
        ended=found["count"] - applied,
        pruned=(found["first"] or furthest + 1) - common - 1,
        complete_from=None if first is None else first.settled_at,
        waiting=_rows().filter(settled_at=None).count(),
    )
    return numbers_after(common), plan


def numbers_after(notice: int) -> list[int]:
    """The numbers of the rows whose end the notices after this one tell, in the order of these."""
    return list(_in_order(notice).values_list("number", flat=True))


def window(numbers: Sequence[int]) -> list[Record]:
    """The records of these rows, in this order."""
    found = {record.number: record for record in records(_rows().filter(number__in=numbers))}
    # One may have been pruned meanwhile.
    return [found[number] for number in numbers if number in found]


def notice_numbers(numbers: Sequence[int]) -> dict[str, int | None]:
    """By command id, where in the history the ends of these rows stand."""
    return dict(_rows().filter(number__in=numbers).values_list("command_id", "notice_number"))


def with_predecessors(lost: Sequence[Record]) -> list[Record]:
    """The records and, before each, the unsettled commands that it had to follow.

    These were applied too, or it could not have been; their notices did not come.
    """
    asked = {"", *(record.command_id for record in lost)}
    ordered = list(lost)
    while wanted := {record.depends_on for record in ordered} - asked:
        asked |= wanted
        unsettled = records(_rows().filter(command_id__in=wanted, settled_at=None))
        found = {record.command_id: record for record in unsettled}
        ordered = [
            each for record in ordered for each in (found.pop(record.depends_on, None), record) if each is not None
        ]
    return ordered


def renumber(outcomes: Mapping[str, Notice]) -> None:
    """Records where in the new history the ends of these commands stand."""
    with rows.writing() as cursor:
        cursor.executemany(
            f"UPDATE {rows.TABLE} SET notice_number=%s WHERE command_id=%s AND settled_at IS NOT NULL",
            [(notice.number, command_id) for command_id, notice in outcomes.items()],
        )


def unnumber(numbers: Sequence[int]) -> None:
    """Records that the ends of these rows stand nowhere in the tracked history."""
    _rows().filter(number__in=numbers).update(notice_number=None)


async def write(work: Callable[[], T]) -> T:
    """What `work` returns, once what it writes to the journal's database is committed."""

    def write() -> T:
        with rows.writing():
            return work()

    return await sync_to_async(write)()
