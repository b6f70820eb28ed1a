"""Messages that are no commands, on their way to where an operator sees them."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from protocol.contact_write_pb2 import Undecodable

log = logging.getLogger("cqrs.writer.malformed")

# How many may wait, and how many go in one call: each has at most 64 KiB, a gRPC message 4 MiB.
MAX_WAITING = 1_000
BATCH = 40
# Seconds between two lines about them.
SAY_EVERY = 1.0


class Undecodables:
    """A bounded queue, emptied by `run` without stopping anything else. What does not fit is counted and said.

    record: takes a batch, for as long as that takes.
    """

    def __init__(self, record: Callable[[Sequence[Undecodable]], Awaitable[None]]) -> None:
        self._record = record
        self._waiting: deque[Undecodable] = deque()
        self._arrived = asyncio.Event()
        self._lost = 0
        # Recorded since that was last said, the last of them, and when it was (the loop's clock).
        self._recorded = 0
        self._last = Undecodable()
        self._said_at = 0.0
        self._saying: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: Iterable[Undecodable]) -> None:
        """Queues records; never blocks."""
        for record in records:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(record)
            else:
                if not self._lost:
                    log.warning("%d messages that are no commands wait to be recorded: more are lost", MAX_WAITING)
                self._lost += 1
            self._arrived.set()

    async def run(self) -> None:
        """Records what is queued, until cancelled; says so at most once a second, however much there is."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._record_waiting()
            if self._saying is None:
                self._saying = loop.call_at(self._said_at + SAY_EVERY, self._say)

    async def flush(self) -> None:
        """Records what is queued now, and says so."""
        await self._record_waiting()
        self._say()

    async def _record_waiting(self) -> None:
        self._arrived.clear()
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            await self._record(batch)
            for _ in batch:
                self._waiting.popleft()
            self._recorded += len(batch)
            self._last = batch[-1]

    def _say(self) -> None:
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        self._said_at = asyncio.get_running_loop().time()
        if self._recorded:
            log.warning(
                "recorded %d messages that are no commands, the last on %s: %s",
                self._recorded,
                self._last.topic,
                self._last.reason,
            )
            self._recorded = 0
        if self._lost:
            log.warning("lost %d messages that are no commands", self._lost)
            self._lost = 0
