"""The writer: takes commands from the broker, delays each for the rest of its time, and applies them in batches.

It keeps nothing on disk. A command that it loses, or has no room for, is sent again by the journal that accepted it,
and the database knows which commands it has applied. So several writers at once are harmless, but for commands that
come without an id: each writer would give them one of its own.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, Self

from cqrs.transport.codec import Codec
from cqrs.writer.apply_client import Applied
from cqrs.writer.decoding import Decoder
from cqrs.writer.delay_queue import PATIENCE, DelayQueue, ScheduledCommand
from cqrs.writer.malformed import MalformedQueue
from protocol import topics
from protocol.cqrs_write_pb2 import Malformed

log = logging.getLogger("cqrs.writer.writer")

# Seconds that a due command waits for those that are due next, so that they share a call, a transaction and all that
# follows on it; where none is due as soon, it does not wait. At 500 a second nearly each command had a transaction of
# its own: with this all processes take a quarter less.
LINGER = 0.003
# So many are enough: where more are due, all wait less.
ENOUGH = 3
# After a call with so many commands the next ones wait longer, for more of them: a call, its transaction and all that
# follows are then most of a command's cost.
BUSY = 12
BUSY_LINGER = 0.01
BUSY_ENOUGH = 300
# Seconds that the call in flight has to end when the writer is told to stop.
GRACE = 5.0
# Seconds after which it looks at the clock again, since timers cannot be set for ever.
LONGEST_SLEEP = 3600.0
# How full the queue may be when a shortage of room counts as over.
HAS_ROOM = 0.9


class Link(Protocol):
    """What the writer needs of cqrs.transport.mqtt.MqttLink."""

    async def run(self) -> None: ...
    async def publish(self, topic: str, payload: bytes) -> None: ...


class Database(Protocol):
    """What the writer needs of cqrs.writer.apply_client.WriteClient."""

    @property
    def waiting(self) -> bool: ...
    @property
    def keeps_outcomes(self) -> bool: ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def apply(self, batch: Sequence[ScheduledCommand]) -> Applied: ...
    async def record(self, records: Sequence[Malformed]) -> bool: ...


class Writer:
    """Brings commands from the broker to the database, each when its delay has passed.

    database: where they go. connect: makes the link to the broker (MqttLink, with all but topics and handlers).
    codec: the messages of commands that travel alone. delay: seconds, the same in all processes.
    limit: commands in the delay queue.
    linger: seconds that a command may be late for the sake of those that are due soon after it; none is ever early.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[..., Link],
        codec: Codec,
        *,
        delay: float,
        limit: int,
        linger: float = LINGER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._decoder = Decoder(codec)
        self._link = connect(topics=self._decoder.topics, on_message=self._receive, on_connect=self._publish_hello)
        self._delay = delay
        self._linger = linger
        # Commands in the call before.
        self._last_size = 0
        self._now = now
        self._queue = DelayQueue(delay, limit, now)
        self._malformed = MalformedQueue(database.record)
        self._in_flight: Sequence[ScheduledCommand] = ()
        self._wake = asyncio.Event()
        self._sleeps_for = 0.0
        self._stopping = False
        self._ready = False
        self._dropped = 0

    @property
    def trouble(self) -> str:
        """Why commands do not take effect at present; empty: they do."""
        if not self._ready:
            return "is not connected to the broker yet"
        return "waits for the database" if self._database.waiting else ""

    async def run(self, stop: Awaitable[object]) -> None:
        """Writes until `stop` is done; then receives nothing more and ends the call in flight, within 5 s."""
        async with self._database, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._link.run(), name="receive commands")
            applying = tasks.create_task(self._apply_when_due(), name="apply commands")
            recording = tasks.create_task(self._malformed.run(), name="record malformed messages")
            await stop
            receiving.cancel()
            self._stopping = True
            self._wake.set()
            if not self._database.waiting:
                await asyncio.wait([applying], timeout=GRACE)
            applying.cancel()
            recording.cancel()
            await asyncio.wait([applying, recording])
            await self._record_the_last()
        self._log_lost()

    async def _publish_hello(self) -> None:
        """Tells the gateways that this writer may have missed what they sent before."""
        await self._link.publish(topics.HELLO, b"")
        if not self._ready:
            log.info("ready: commands take effect %g s after they were accepted", self._delay)
        self._ready = True

    def _receive(self, topic: str, payload: bytes) -> None:
        decoded = self._decoder.decode(topic, payload)
        if decoded.malformed:
            self._malformed.add(decoded.malformed)
        for received in decoded.commands:
            for dropped in self._queue.schedule(received):
                self._log_full(dropped)
        if self._dropped and self._queue.fill < HAS_ROOM:
            log.info("the delay queue has room again: %d commands were dropped", self._dropped)
            self._dropped = 0
        if self._queue.next_due < self._sleeps_for:
            self._wake.set()

    async def _apply_when_due(self) -> None:
        await self._database.apply([])  # so that a database that is away is said now, and not with the first command
        while not self._stopping:
            await self._sleep()
            batch = self._queue.take()
            if not batch:
                continue
            self._in_flight = batch
            self._last_size = len(batch)
            applied = await self._database.apply(batch)
            self._in_flight = ()
            self._conclude(batch, applied)

    async def _sleep(self) -> None:
        """Until a command is due and with it those that are due soon after, or the writer is told to stop.

        Woken for one that is due earlier, it takes what is due by then, if anything is.
        """
        self._sleeps_for = self._queue.next_due
        within, enough = (BUSY_LINGER, BUSY_ENOUGH) if self._last_size >= BUSY else (self._linger, ENOUGH)
        rest = self._queue.due_together(within, enough) - self._now()
        if rest > 0 and not self._stopping:
            self._wake.clear()
            timer = asyncio.get_running_loop().call_later(min(rest, LONGEST_SLEEP), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        self._sleeps_for = 0.0

    def _conclude(self, batch: Sequence[ScheduledCommand], applied: Applied) -> None:
        dropped = self._queue.reschedule(applied.deferred)
        if dropped:
            log.warning(
                "deferred %d commands for %g s: predecessor not settled, or the database is older than the sender's"
                " last notice; the journal will send them again: %s",
                len(dropped),
                PATIENCE,
                _ids([each.command_id for each in dropped]),
            )
        refused: dict[str, list[str]] = {}
        for command, reason, _ in applied.refused:
            refused.setdefault(reason, []).append(command.command_id)
            self._malformed.add([self._decoder.record_of_refused(command.payload, reason)])
        for reason, ids in refused.items():
            log.error("the database service refuses %d commands: %s: %s", len(ids), reason, _ids(ids))
        if log.isEnabledFor(logging.DEBUG):
            unapplied = {*applied.deferred, *(each.command for each in applied.refused)}
            for scheduled in batch:
                if scheduled not in unapplied:
                    log.debug("applied command=%s", scheduled.command_id)

    async def _record_the_last(self) -> None:
        """Tries once more to record malformed messages, which are in no journal."""
        if len(self._malformed) and not self._database.waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._malformed.flush()
        if len(self._malformed):
            log.warning("stopped with %d malformed messages unrecorded", len(self._malformed))

    def _log_full(self, dropped: ScheduledCommand) -> None:
        if dropped.at_most_once or not self._database.keeps_outcomes:
            log.warning("lost, since the delay queue is full and nobody sends it again: command=%s", dropped.command_id)
            return
        if not self._dropped:
            log.warning(
                "the delay queue is full (%d commands): dropping commands, which the journal will send again, "
                "first command=%s",
                len(self._queue),
                dropped.command_id,
            )
        self._dropped += 1

    def _log_lost(self) -> None:
        """Commands that nobody sends again, one line each, and how many others there are."""
        lost = self._queue.ids(at_most_once=True) + [each.command_id for each in self._in_flight if each.at_most_once]
        journaled = self._queue.ids(at_most_once=False)
        journaled += [each.command_id for each in self._in_flight if not each.at_most_once]
        if self._database.keeps_outcomes:
            log.info("stopped with %d commands in the delay queue, which the journal will send again", len(journaled))
        else:
            lost += journaled
        for command_id in lost:
            log.warning("lost, since the writer stops and nobody sends it again: command=%s", command_id)


def _ids(ids: Sequence[str], most: int = 10) -> str:
    """The first ids, as they stand in log lines."""
    first = " ".join(f"command={command_id}" for command_id in ids[:most])
    return first if len(ids) <= most else f"{first} and {len(ids) - most} more"
