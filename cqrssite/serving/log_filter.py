"""Keeps log lines that a stranger can provoke from filling the log."""

import logging
import time

INTERVAL = 1.0
"""Seconds in which a message is logged once."""


class RateLimitFilter(logging.Filter):
    """Lets each message below ERROR through once in INTERVAL, whatever its arguments."""

    def __init__(self) -> None:
        super().__init__()
        # By the text before its arguments, of which there are few. Times are those of the clock that never jumps.
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = time.monotonic(), str(record.msg)
        if record.levelno < logging.ERROR and now - self._logged_at.get(message, -INTERVAL) < INTERVAL:
            return False
        self._logged_at[message] = now
        return True
