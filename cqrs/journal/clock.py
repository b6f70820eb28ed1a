"""The clocks of the command side; tests set their own."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple


class Clock(NamedTuple):
    """wall: seconds since 1970; it may jump. monotonic: seconds since some moment, as they pass in this process."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def now(self) -> datetime:
        """UTC, to the millisecond."""
        moment = datetime.fromtimestamp(self.wall(), UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """UTC, to the millisecond."""
    return Clock().now()
