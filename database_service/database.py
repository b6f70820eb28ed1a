"""The database that this service owns, and the clock it goes by."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper

ALIAS = "contacts"

# Parameters that one statement can have on every engine.
_MOST_PARAMETERS = 500


def now_ms() -> int:
    """The time of day, in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


def cursor() -> CursorWrapper:
    """A cursor of this thread's connection."""
    return connections[ALIAS].cursor()


def select_in(on: CursorWrapper, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of `statement`, in which `{}` stands for a list of `values`, asked for in as many parts as need be."""
    for start in range(0, len(values), _MOST_PARAMETERS):
        part = values[start : start + _MOST_PARAMETERS]
        on.execute(statement.format(", ".join(["%s"] * len(part))), part)
        yield from on.fetchall()
