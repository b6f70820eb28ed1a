"""Listening sockets of other processes, whose connections are taken when their own process is away or busy.

Reason: the system spreads who connects evenly over the sockets of one address, but holds no more than a queue for a
process that is killed until it runs again. One socket for all processes has the reverse fault: the process that wakes
up first takes many, sometimes all of what comes at once.
The plain path: each process accepts at its own socket alone, as the server does.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

log = logging.getLogger("cqrssite.graphql")

PATIENCE = 0.02
"""Seconds that a connection is left to whose it is."""
PAUSE = 1.0
"""Seconds after an error, such as too many open files: as long as asyncio's own servers wait."""


class SpareSockets:
    """Takes what is left over at `sockets`, which listen; new_protocol: serves one connection."""

    def __init__(self, sockets: Sequence[socket.socket], new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._sockets = sockets
        self._new_protocol = new_protocol
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        for each in self._sockets:
            each.setblocking(False)
            task = asyncio.create_task(self._watch(each), name="spare socket")
            task.add_done_callback(_tell_defect)
            self._tasks.append(task)

    async def close(self) -> None:
        """Takes no more; what was taken goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self._sockets:
            each.close()

    async def _watch(self, listening: socket.socket) -> None:
        while True:
            await _readable(listening)
            await asyncio.sleep(PATIENCE)
            try:
                await self._take(listening)
            except (BlockingIOError, ConnectionError):
                # All are taken, or gone again.
                continue
            except OSError as error:
                log.warning("a connection that another gateway has left cannot be taken: %s", error)
                await asyncio.sleep(PAUSE)

    async def _take(self, listening: socket.socket) -> None:
        """Takes all that wait. Raises BlockingIOError when there are no more."""
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, connection)


def _tell_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("what another gateway leaves is not taken any more", exc_info=task.exception())


async def _readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(listening, ready.set)
    try:
        await ready.wait()
    finally:
        # It is told again and again as long as somebody waits there.
        loop.remove_reader(listening)
