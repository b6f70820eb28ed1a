"""The clocks of the command side, and what its threads wait by; tests set their own."""

import queue
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Clock(NamedTuple):
    """wall: seconds since 1970; it may jump. monotonic: seconds since some moment, as they pass in this process.

    sleep: has a thread wait for so many seconds. inbox: makes the queue on which a thread waits for its work.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    inbox: "Callable[[], queue.SimpleQueue[Any]]" = queue.SimpleQueue

    def now(self) -> datetime:
        """UTC, to the millisecond."""
        moment = datetime.fromtimestamp(self.wall(), UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """UTC, to the millisecond."""
    return Clock().now()
