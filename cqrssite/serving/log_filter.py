"""Keeps what a stranger can provoke from filling the log."""

import logging
import time

# Seconds in which a line is said once.
EVERY = 1.0


class Sparing(logging.Filter):
    """Lets each message through once a second, whatever its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # By the clock that never jumps; by the text before its arguments, of which there are few.
        now = time.monotonic()
        if record.levelno >= logging.ERROR or now - self._said.get(str(record.msg), -EVERY) >= EVERY:
            self._said[str(record.msg)] = now
            return True
        return False
