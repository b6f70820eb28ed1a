"""The row that says which database is followed. Every function runs on the Django connection of the calling thread.

Those that write run in `rows.writing`, so that of several gateways one comes first.
"""

from typing import NamedTuple

from cqrs.journal import rows
from cqrs.journal.models import MAX_MESSAGE, FollowedDatabase
from cqrs.journal.settlement import now


class Seen(NamedTuple):
    """The furthest notice that was seen of the database of a generation."""

    generation: int
    number: int
    position: str


def read() -> FollowedDatabase | None:
    """The database that is followed; None: none yet."""
    return FollowedDatabase.objects.using(rows.database()).first()


def begin(
    database: str, position: str, *, memory: bool, instead_of: FollowedDatabase | None, number: int = 0
) -> FollowedDatabase | None:
    """Follows this database from a position on (`number`: its notice's, at most).

    None: another process has come first, what was followed is not `instead_of` any more.
    """
    current = read()
    generation = 0 if instead_of is None else instead_of.generation
    if (0 if current is None else current.generation) != generation:
        return None
    begun = FollowedDatabase(
        generation=generation + 1, database=database, number=number, position=position, memory=memory
    )
    begun.save(using=rows.database(), force_insert=current is None, force_update=current is not None)
    return begun


def see(seen: Seen) -> None:
    """Records how far the history was seen, if it is still followed and nobody has seen further."""
    of = FollowedDatabase.objects.using(rows.database()).filter(generation=seen.generation, lost_at=None)
    of.filter(number__lt=seen.number).update(number=seen.number, position=seen.position)


def lose(followed: FollowedDatabase, why: str) -> None:
    """Records that another history was found in its place."""
    of = FollowedDatabase.objects.using(rows.database()).filter(generation=followed.generation, lost_at=None)
    of.update(lost_at=now(), lost_why=why[:MAX_MESSAGE])


def find_again(followed: FollowedDatabase) -> None:
    """Records that it is back."""
    of = FollowedDatabase.objects.using(rows.database()).filter(generation=followed.generation)
    of.update(lost_at=None, lost_why="", common_number=None, common_position="")


def have_in_common(followed: FollowedDatabase, number: int, position: str) -> None:
    """Records up to which notice the database in its place has the same history."""
    of = FollowedDatabase.objects.using(rows.database()).filter(generation=followed.generation)
    of.update(common_number=number, common_position=position)
