"""Joins waiting commands into one transaction: a commit is the slow part of writing."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cqrs.store.apply import apply_incoming, retry_parked
from cqrs.store.errors import DatabaseAway
from cqrs.store.incoming import IncomingCommand
from cqrs.store.threads import DatabaseThreads
from cqrs.store.unit_of_work import Applied
from protocol.cqrs_notice_pb2 import Notice

log = logging.getLogger("cqrs.store.command_writer")

# Batches that wait are joined up to so many commands.
_MOST_JOINED = 2000

# How often parked commands are looked at, in seconds.
_RETRY_EVERY = 1.0


class _Waiting(NamedTuple):
    commands: Sequence[IncomingCommand]
    applied: asyncio.Future[Applied]


class CommandWriter:
    """Applies commands on the thread that writes, batches of concurrent callers joined; retries parked commands.

    on_notices: called on the event loop with the notices of each commit, in the order of the commits.
    """

    def __init__(self, threads: DatabaseThreads, on_notices: Callable[[Sequence[Notice]], None]) -> None:
        self._threads = threads
        self._on_notices = on_notices
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Event()

    async def apply(self, commands: Sequence[IncomingCommand]) -> list[str]:
        """Applies the commands as `cqrs.store.apply.apply` does; returns the ids of the deferred ones among them.

        Raises DatabaseAway when nothing was committed.
        """
        done: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(commands, done))
        self._work.set()
        deferred = (await done).deferred
        if not deferred:
            return []
        # Other callers' commands are among them.
        own = {incoming.command_id for incoming in commands}
        return [command_id for command_id in deferred if command_id in own]

    async def run(self) -> None:
        """Applies waiting commands, until cancelled."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._waiting:
                    await self._apply_joined(self._join())
        finally:
            _fail(self._waiting, DatabaseAway("the service ends"))

    async def retry(self) -> None:
        """Tries parked commands again when they are due, until cancelled."""
        while True:
            try:
                applied = await self._threads.write(retry_parked)
            except DatabaseAway:
                applied = Applied([], [])
            self._notify(applied.notices)
            # A settled command may have released others, which are due at once.
            if not applied.notices:
                await asyncio.sleep(_RETRY_EVERY)

    def _notify(self, notices: Sequence[Notice]) -> None:
        self._on_notices(notices)
        if log.isEnabledFor(logging.DEBUG):
            for notice in notices:
                log.debug("recorded as %s command=%s", Notice.Kind.Name(notice.kind), notice.command_id)

    def _join(self) -> list[_Waiting]:
        joined = [self._waiting.popleft()]
        size = len(joined[0].commands)
        while self._waiting and size + len(self._waiting[0].commands) <= _MOST_JOINED:
            joined.append(self._waiting.popleft())
            size += len(joined[-1].commands)
        return joined

    async def _apply_joined(self, joined: Sequence[_Waiting]) -> None:
        commands = [command for each in joined for command in each.commands]
        try:
            applied = await self._threads.write(apply_incoming, commands)
        except DatabaseAway as error:
            _fail(joined, error)
        except Exception as error:
            log.exception("a batch of %d commands cannot be applied", len(commands))
            _fail(joined, error)
        else:
            self._notify(applied.notices)
            for each in joined:
                if not each.applied.done():
                    each.applied.set_result(applied)


def _fail(joined: Iterable[_Waiting], error: Exception) -> None:
    for each in joined:
        if not each.applied.done():
            each.applied.set_exception(error)
