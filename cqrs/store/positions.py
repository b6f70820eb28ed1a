"""Positions in the history of notices: "<number>.<check>", or "0" for its beginning.

The check is a hash of the notice that stands there and of the database, so that a position of another history, for
example of before a backup was restored, is recognised.
"""

import hashlib
import re

from cqrs.store.errors import PositionInvalid

BEGINNING = "0"

_POSITION = re.compile(r"([1-9][0-9]{0,17})\.[0-9a-f]{12}\Z")


def position_of(database: str, number: int, command_id: str, committed_at: int) -> str:
    """The position of the notice `number` in the history of `database` (its identity)."""
    check = hashlib.blake2b(f"{database} {number} {command_id} {committed_at}".encode(), digest_size=6).hexdigest()
    return f"{number}.{check}"


def number_of(position: str) -> int:
    """The number of the notice that stands there, 0 for the beginning. Raises PositionInvalid."""
    if position == BEGINNING:
        return 0
    if not (match := _POSITION.match(position)):
        raise PositionInvalid
    return int(match[1])
