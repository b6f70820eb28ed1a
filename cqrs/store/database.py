"""The database that this service owns, and the clock it goes by."""

import time

from django.db import connections
from django.db.backends.utils import CursorWrapper

from cqrs import conf

ALIAS = conf.current().store


def now_ms() -> int:
    """The time of day, in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


def cursor() -> CursorWrapper:
    """A cursor of this thread's connection."""
    return connections[ALIAS].cursor()
