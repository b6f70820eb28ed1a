"""The writer: takes commands from the broker, holds each for the rest of the delay, and applies them in batches.

It keeps nothing on disk. What it loses, or has no room for, the journal of whoever accepted it sends again, and the
database knows what it has done. So several writers at once are harmless, but for commands of foreign clients: each
writer would give them an id of its own.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, Self

from cqrs.transport.backoff import describe
from cqrs.writer.apply_client import Applied
from cqrs.writer.decoding import TOPICS, decode, refused
from cqrs.writer.delay_queue import PATIENCE, Held, Holding
from cqrs.writer.malformed import Undecodables
from protocol import topics
from protocol.contact_write_pb2 import CommandBatch, Undecodable

log = logging.getLogger("cqrs.writer.writer")

# Seconds that a command which is due waits for those that are due next, so that they share a call, a transaction and
# all that follows on it; where none is due as soon, it does not wait. At 500 a second each command had a transaction of
# its own, nearly: with this all processes take a quarter less.
GATHER = 0.003
# So many are enough: where more are due, all wait less.
ENOUGH = 3
# After a call with so many commands the next ones wait longer, for more of them: what follows on a call and its
# transaction is then most of what a command costs.
BUSY = 12
BUSY_GATHER = 0.01
BUSY_ENOUGH = 300
# Seconds that the call in flight has to end when the writer is told to stop.
GRACE = 5.0
# Seconds after which it looks at the clock again, since timers cannot be set for ever.
LONGEST_SLEEP = 3600.0


class Link(Protocol):
    """What the writer needs of cqrs.transport.mqtt.MqttLink."""

    async def run(self) -> None: ...
    async def publish(self, topic: str, payload: bytes) -> None: ...


class Database(Protocol):
    """What the writer needs of cqrs.writer.apply_client.WriteClient."""

    @property
    def waiting(self) -> bool: ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def apply(self, batch: Sequence[Held]) -> Applied: ...
    async def record(self, records: Sequence[Undecodable]) -> None: ...


class Writer:
    """Brings commands from the broker to the database, each when its delay has passed.

    database: where they go. connect: makes the link to the broker (MqttLink, but for what the writer adds).
    delay: seconds, the same in all processes. limit: commands held at once.
    gather: seconds that a command may be late for the sake of those that are due soon after it; none is ever early.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[..., Link],
        *,
        delay: float,
        limit: int,
        gather: float = GATHER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._link = connect(
            name="contacts-writer", topics=TOPICS, on_message=self._receive, on_connect=self._say_hello
        )
        self._delay = delay
        self._limit = limit
        self._gather = gather
        # Commands in the call before.
        self._last_size = 0
        self._now = now
        self._holding = Holding(delay, limit, now)
        self._undecodables = Undecodables(database.record)
        self._in_flight: Sequence[Held] = ()
        self._wake = asyncio.Event()
        self._sleeps_for = 0.0
        self._stopping = False
        self._ready = False
        self._dropped = 0

    async def run(self, stop: Awaitable[object]) -> None:
        """Writes until `stop` is done; then receives nothing more and ends the call in flight, within 5 s."""
        async with self._database, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._link.run(), name="receive commands")
            applying = tasks.create_task(self._apply_when_due(), name="apply commands")
            recording = tasks.create_task(self._undecodables.run(), name="record undecodable messages")
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
        self._say_what_is_lost()

    async def _say_hello(self) -> None:
        """Tells the gateways that this writer may have missed what they sent before."""
        await self._link.publish(topics.HELLO, b"")
        if not self._ready:
            log.info("ready: commands take effect %g s after they were accepted", self._delay)
        self._ready = True

    def _receive(self, topic: str, payload: bytes) -> None:
        decoded = decode(topic, payload)
        if decoded.undecodable:
            self._undecodables.add(decoded.undecodable)
        for command in decoded.commands:
            out = self._holding.hold(command)
            if out is not None:
                self._say_full(out)
        if self._dropped and len(self._holding) < 0.9 * self._limit:
            log.info("takes commands again; %d were left to be sent again", self._dropped)
            self._dropped = 0
        if self._holding.next_due < self._sleeps_for:
            self._wake.set()

    async def _apply_when_due(self) -> None:
        await self._database.apply([])  # so that a database that is away is said now, and not with the first command
        while not self._stopping:
            await self._sleep()
            batch = self._holding.take()
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
        self._sleeps_for = self._holding.next_due
        within, enough = (BUSY_GATHER, BUSY_ENOUGH) if self._last_size >= BUSY else (self._gather, ENOUGH)
        rest = self._holding.due_together(within, enough) - self._now()
        if rest > 0 and not self._stopping:
            self._wake.clear()
            timer = asyncio.get_running_loop().call_later(min(rest, LONGEST_SLEEP), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
        self._sleeps_for = 0.0

    def _conclude(self, batch: Sequence[Held], applied: Applied) -> None:
        given_up = self._holding.offer_again(applied.left)
        if given_up:
            log.warning(
                "left %d commands to be sent again, since what they depend on was not settled, or what their sender"
                " has seen was not there, within %g s: %s",
                len(given_up),
                PATIENCE,
                _ids(given_up),
            )
        for held, error in applied.refused:
            reason = describe(error)
            log.error("the database service refuses a command: %s command=%s", reason, held.command_id)
            self._undecodables.add([refused(CommandBatch.FromString(held.payload).command[0], reason)])
        if log.isEnabledFor(logging.DEBUG):
            out = {held.command_id for held in (*applied.left, *(held for held, _ in applied.refused))}
            for held in batch:
                if held.command_id not in out:
                    log.debug("applied command=%s", held.command_id)

    async def _record_the_last(self) -> None:
        """What is no command is in no journal: one more try."""
        if len(self._undecodables) and not self._database.waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._undecodables.flush()
        if len(self._undecodables):
            log.warning("stopped with %d messages that are no commands unrecorded", len(self._undecodables))

    def _say_full(self, out: Held) -> None:
        if out.foreign:
            log.warning("lost, since %d foreign commands are held: command=%s", self._limit, out.command_id)
            return
        if not self._dropped:
            log.warning(
                "holds %d commands, as many as it may: more are left to be sent again, first command=%s",
                self._limit,
                out.command_id,
            )
        self._dropped += 1

    def _say_what_is_lost(self) -> None:
        foreign = self._holding.foreign_ids() + [held.command_id for held in self._in_flight if held.foreign]
        ours = len(self._holding) + len(self._in_flight) - len(foreign)
        log.info("stopped with %d commands held, which are sent again", ours)
        for command_id in foreign:
            log.warning("lost, since its client sends nothing again: command=%s", command_id)


def _ids(commands: Sequence[Held], most: int = 10) -> str:
    """The first ids, as they stand in log lines."""
    names = " ".join(f"command={held.command_id}" for held in commands[:most])
    return names if len(commands) <= most else f"{names} and {len(commands) - most} more"
