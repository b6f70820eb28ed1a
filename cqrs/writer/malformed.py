"""Malformed messages, on their way to where an operator sees them."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from protocol.cqrs_write_pb2 import Malformed

log = logging.getLogger("cqrs.writer.malformed")

# Bytes of a payload that are kept.
MAX_KEPT = 65_536
# The most that wait: messages, and bytes of their payloads.
MAX_WAITING = 1_000
MAX_WAITING_BYTES = 8 * 1024 * 1024
# Messages in one call: a gRPC message has at most 4 MiB.
BATCH = 40
# Seconds between two lines about them.
LOG_EVERY = 1.0


def record_of(topic: str, payload: bytes, reason: str) -> Malformed:
    """A record of a payload that was received now."""
    record = Malformed(topic=topic, payload=payload[:MAX_KEPT], reason=reason, size=len(payload))
    record.received_at.GetCurrentTime()
    return record


class MalformedQueue:
    """A bounded queue, emptied by `run` without stopping anything else. What does not fit is counted and logged.

    record: stores a batch, for as long as that takes; returns whether the database service keeps such messages.
    """

    def __init__(self, record: Callable[[Sequence[Malformed]], Awaitable[bool]]) -> None:
        self._record = record
        self._waiting: deque[Malformed] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        # Since they were last logged, what became of messages: how many, and the last of them.
        self._recorded: tuple[int, Malformed] = (0, Malformed())
        self._lost: tuple[int, Malformed] = (0, Malformed())
        # By the loop's clock.
        self._logged_at = 0.0
        self._logging: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: Iterable[Malformed]) -> None:
        """Queues records; never blocks."""
        for record in records:
            if len(self._waiting) < MAX_WAITING and self._bytes + len(record.payload) <= MAX_WAITING_BYTES:
                self._waiting.append(record)
                self._bytes += len(record.payload)
            else:
                self._lost = (self._lost[0] + 1, record)
            self._arrived.set()

    async def run(self) -> None:
        """Records what is queued, until cancelled; logs it at most once a second, however much there is."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await self._record_waiting()
            if self._logging is None:
                self._logging = loop.call_at(self._logged_at + LOG_EVERY, self._log)

    async def flush(self) -> None:
        """Records what is queued now, and logs it."""
        await self._record_waiting()
        self._log()

    async def _record_waiting(self) -> None:
        self._arrived.clear()
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            is_recorded = await self._record(batch)
            for record in batch:
                self._waiting.popleft()
                self._bytes -= len(record.payload)
            if is_recorded:
                self._recorded = (self._recorded[0] + len(batch), batch[-1])
            else:
                self._lost = (self._lost[0] + len(batch), batch[-1])

    def _log(self) -> None:
        if self._logging is not None:
            self._logging.cancel()
            self._logging = None
        self._logged_at = asyncio.get_running_loop().time()
        for what, (count, last) in (("recorded", self._recorded), ("could not record", self._lost)):
            if count:
                log.warning(
                    "%s %d malformed messages, the last on %s of %d bytes: %s",
                    what,
                    count,
                    last.topic,
                    last.size,
                    last.reason,
                )
        self._recorded = self._lost = (0, Malformed())
