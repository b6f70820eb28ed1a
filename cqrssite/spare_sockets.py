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

log = logging.getLogger("cqrssite.gateway")

PATIENCE = 0.02
"""Seconds that a connection is left to whose it is."""


class SpareSockets:
    """Takes what is left over at `sockets`, which listen; new_protocol: serves one connection."""

    def __init__(self, sockets: Sequence[socket.socket], new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._sockets = sockets
        self._new_protocol = new_protocol
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        for each in self._sockets:
            each.setblocking(False)
            self._tasks.append(asyncio.create_task(self._watch(each), name="spare socket"))

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
            except BlockingIOError:
                continue
            except OSError as error:
                # The client has gone already, or too many files are open; whose socket it is meets the same.
                log.warning("a connection left to this gateway is not taken: %s", error)

    async def _take(self, listening: socket.socket) -> None:
        """All that wait now. Raises BlockingIOError when there are no more."""
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, connection)


async def _readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(listening, ready.set)
    try:
        await ready.wait()
    finally:
        # It is told again and again as long as somebody waits there.
        loop.remove_reader(listening)
