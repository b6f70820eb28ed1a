"""How many more commands the journal takes from the Python API."""

import threading
import time

from cqrs.journal import rows

# Seconds for which a count is good.
COUNT_EVERY = 1.0


class Room:
    """Counts what is unsettled once a second at most, however many call, while there is room.

    What other processes accept meanwhile may come on top of the limit; gateways know the count, and keep it exactly.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._counted_at = float("-inf")

    def left(self, limit: int, wanted: int) -> int:
        """How many more may be unsettled; counted anew where `wanted` would be too many."""
        with self._lock:
            if time.monotonic() - self._counted_at >= COUNT_EVERY or limit - self._count < wanted:
                self._count = rows.count_unsettled(limit)
                self._counted_at = time.monotonic()
            return limit - self._count

    def take(self, count: int) -> None:
        """Notes that so many were accepted."""
        with self._lock:
            self._count += count
