"""Trying again: with pauses that grow, and one line in the log for each outage."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

log = logging.getLogger("cqrs.transport.backoff")


class Backoff:
    """Pauses that double from `first` to `most` seconds until `reset`, each cut by up to half.

    The cut spreads out those who lost the same peer at the same moment.
    """

    def __init__(self, first: float = 0.1, most: float = 1.0) -> None:
        self._first, self._most = first, most
        self._pause = first

    def reset(self) -> None:
        """The next pause is the first again."""
        self._pause = self._first

    def next(self) -> float:
        """The next pause, in seconds."""
        pause = self._pause
        self._pause = min(self._most, 2 * pause)
        return random.uniform(pause / 2, pause)

    async def pause(self) -> None:
        """Waits for the next pause."""
        await asyncio.sleep(self.next())


async def keep(
    session: Callable[[Callable[[], None]], Awaitable[None]],
    *,
    what: str,
    errors: tuple[type[BaseException], ...],
    first: float = 0.1,
    most: float = 1.0,
) -> None:
    """Runs `session` again, with backoff, whenever it ends or fails with one of `errors`; ends when cancelled.

    `session` gets a function to call once it is connected: that ends the outage. An outage is said in one line
    when it begins ("waiting for <what>: <why>") and in one when it ends.
    """
    backoff = Backoff(first, most)
    waiting = False

    def connected() -> None:
        nonlocal waiting
        backoff.reset()
        if waiting:
            log.info("connected to %s", what)
        waiting = False

    while True:
        try:
            await session(connected)
            reason = "it closed the connection"
        except errors as error:
            reason = describe(error)
        if not waiting:
            log.warning("waiting for %s: %s", what, reason)
            waiting = True
        await backoff.pause()


def describe(error: BaseException) -> str:
    """One line for an error of gRPC, MQTT or the system."""
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):  # as gRPC's have; it is not loaded for this
        return f"{code().name}: {details()}"
    return " ".join(str(error).split()) or type(error).__name__
