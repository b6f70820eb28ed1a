"""Tasks that a process cannot do without."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine

log = logging.getLogger("cqrs.background")


def end_process() -> None:
    """Ends this process as a supervisor would: it drains first."""
    os.kill(os.getpid(), signal.SIGTERM)


class Background:
    """Tasks that run until they are ended. One that ends by itself is a defect.

    what: whose tasks they are. on_crash: called with each such defect; by default the process ends, since without that
    task it would look alive and settle or send nothing.
    """

    def __init__(self, what: str, on_crash: Callable[[], None] = end_process) -> None:
        self._what = what
        self._on_crash = on_crash
        self.tasks: list[asyncio.Task[None]] = []
        self._stops: dict[asyncio.Task[None], asyncio.Event] = {}
        self._ending = False

    def start(
        self, name: str, work: Coroutine[None, None, None], *, stop: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        """Begins the work. stop: set at the end, on which the work ends by itself; None: it is cancelled."""
        task = asyncio.create_task(work, name=f"{self._what} {name}")
        if stop is not None:
            self._stops[task] = stop
        self.watch(task)
        return task

    def watch(self, task: asyncio.Task[None]) -> None:
        """Takes in a task that works already."""
        task.add_done_callback(self._check)
        self.tasks.append(task)

    async def end(self) -> None:
        """Ends the tasks, the last started first."""
        self._ending = True
        for task in reversed(self.tasks):
            if stop := self._stops.get(task):
                stop.set()
            else:
                task.cancel()
            await asyncio.wait([task])

    def _check(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (self._ending and task.exception() is None):
            return
        log.critical("%s ended, and so does this process", task.get_name(), exc_info=task.exception())
        self._on_crash()
