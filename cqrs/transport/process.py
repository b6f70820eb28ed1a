"""How the process of a service runs and is told to stop."""

import asyncio
import gc
import signal
from collections.abc import Coroutine


class StartError(Exception):
    """A service cannot start; the message says why in one line."""


def tune_collector() -> None:
    """Has Python's garbage collector look at what comes and goes, not again and again at all that was loaded.

    To be called once a service is loaded. Without it, full collections take a quarter of a busy gateway's CPU, and each
    stops it for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run(main: Coroutine[None, None, None]) -> None:
    """Runs a service's main coroutine to its end, on uvloop."""
    import uvloop  # here: a process that only sends commands does not load it

    tune_collector()
    uvloop.run(main)


async def stop_signal() -> str:
    """Waits for SIGTERM or SIGINT and returns its name."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[str] = loop.create_future()

    def receive(name: str) -> None:
        if not received.done():
            received.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive, number.name)
    try:
        return await received
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
