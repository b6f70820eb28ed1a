"""The row that says whose history is tracked. Every function runs on the Django connection of the calling thread.

Functions that write run in `rows.writing`, so that of several gateways one comes first.
"""

from typing import NamedTuple

from cqrs.journal import rows
from cqrs.journal.clock import now
from cqrs.journal.models import MAX_MESSAGE, TrackedHistory


class Seen(NamedTuple):
    """The furthest notice that was seen of the database of a generation."""

    generation: int
    number: int
    position: str


def read() -> TrackedHistory | None:
    """The database whose history is tracked; None: none yet."""
    return TrackedHistory.objects.using(rows.database()).first()


def begin(
    database: str, position: str, *, memory: bool, instead_of: TrackedHistory | None, number: int = 0
) -> TrackedHistory | None:
    """Tracks the history of this database from a position on (`number`: its notice's, at most).

    None: another process has come first, `instead_of` is not tracked any more.
    """
    current = read()
    generation = 0 if instead_of is None else instead_of.generation
    if (0 if current is None else current.generation) != generation:
        return None
    begun = TrackedHistory(
        generation=generation + 1, database=database, number=number, position=position, memory=memory
    )
    begun.save(using=rows.database(), force_insert=current is None, force_update=current is not None)
    return begun


def see(seen: Seen) -> None:
    """Records how far the history was seen, if it is still tracked and no process has seen further."""
    of = TrackedHistory.objects.using(rows.database()).filter(generation=seen.generation, lost_at=None)
    of.filter(number__lt=seen.number).update(number=seen.number, position=seen.position)


def lose(tracked: TrackedHistory, why: str) -> None:
    """Records that another history was found in its place."""
    of = TrackedHistory.objects.using(rows.database()).filter(generation=tracked.generation, lost_at=None)
    of.update(lost_at=now(), lost_why=why[:MAX_MESSAGE])


def find_again(tracked: TrackedHistory) -> None:
    """Records that it is back."""
    of = TrackedHistory.objects.using(rows.database()).filter(generation=tracked.generation)
    of.update(lost_at=None, lost_why="", common_number=None, common_position="")


def have_in_common(tracked: TrackedHistory, number: int, position: str) -> None:
    """Records up to which notice the database in its place has the same history."""
    of = TrackedHistory.objects.using(rows.database()).filter(generation=tracked.generation)
    of.update(common_number=number, common_position=position)
