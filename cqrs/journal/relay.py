"""Sends what the journal has accepted: a cursor over its rows, which may lag but leaves nothing out."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence

from cqrs.journal.commands import body_of
from cqrs.journal.entry import Entry
from cqrs.journal.errors import BrokerAway, JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.models import Command as Row
from cqrs.journal.settlement import now
from cqrs.transport.backoff import Backoff
from cqrs.transport.mqtt import MqttLink
from protocol import topics
from protocol.contact_write_pb2 import CommandBatch

log = logging.getLogger("cqrs.journal.relay")

# Seconds that a command waits to be sent for others to go with it; a tenth of the delay, where that is less. It takes
# effect no later for that. At 500 a second 25 go in a message, and what each message costs is paid a 25th as often.
GATHER = 0.05
# Rows kept in memory until they are sent; what is beyond is read from the journal.
MAX_TAIL = 10_000
READ_AT_ONCE = 1000
# Seconds in which the hellos of several writers are one.
HELLO_PAUSE = 0.1
# Seconds between two looks at the connection while it is down; on_connect comes before.
LOOK_AGAIN = 0.5

TOPICS: dict[str, str] = {Row.Kind.ADD: topics.ADD, Row.Kind.UPDATE: topics.UPDATE, Row.Kind.DELETE: topics.DELETE}


class CommandPublisher:
    """Sends each command of this process once it is committed, and again when it may have been lost.

    Alone on its own topic when nothing else waits, else up to topics.BATCH_SIZE in one message; a cancelled one on
    topics.CANCEL. When the broker comes back or a writer says hello, all that is unsettled is sent again.

    single: one command a message, on the contract's topics alone, never again once the broker has acknowledged it.
    in_flight: messages that may wait for their acknowledgement.
    """

    def __init__(self, journal: Journal, link: MqttLink, *, single: bool = False, in_flight: int = 16) -> None:
        self.single = single
        self._handing_over = False
        self._paused = False
        self._journal = journal
        self._link = link
        self._slots = asyncio.Semaphore(in_flight)
        self._wake = asyncio.Event()
        self._backoff = Backoff()
        # Rows up to the cursor are sent or being sent. The tail holds those that follow it; when more follow than fit,
        # or were accepted by an earlier run, we are behind: they are read from the journal, up to the head.
        self._cursor = 0
        self._head = 0
        self._tail: deque[Entry] = deque()
        self._behind = True
        # When the tail began to gather, on the loop's clock.
        self._gathers_since = 0.0
        self._gather = min(GATHER, journal.delay / 10)
        self._cancels: deque[Entry] = deque()
        self._in_flight: set[int] = set()
        # Rows that `send` has sent while others were being read: what was read may hold them as well.
        self._sent_beside: set[int] = set()
        self._hello_at: float | None = None
        self._again_until = 0
        self._decisions: set[tuple[str, bool, int | None]] = set()
        journal.cancellable = not single
        journal.listen(self._on_accepted, self._on_cancel)

    @property
    def connected(self) -> bool:
        """Whether anything can be sent: there is a connection to the broker, and no pause."""
        return self._link.connected and not self._paused

    @property
    def paused(self) -> bool:
        """Whether nothing is sent, whatever is accepted; when that ends, all that is unsettled is sent again."""
        return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        if self._paused and not value:
            # Rows may wait for others than before.
            self.on_connect()
        self._paused = value
        self._wake.set()

    @property
    def lag(self) -> int:
        """How many commands of this process the broker has not acknowledged, at most; 0 only once that is known."""
        unread = max(1, self._head - self._cursor) if self._behind else len(self._tail)
        return unread + len(self._in_flight)

    @property
    def handing_over(self) -> bool:
        """Whether the read side knows only the contract, so that no outcome can be heard.

        Commands then wait for no other, and are HANDED_OVER and never sent again once the broker has acknowledged them.
        """
        return self._handing_over

    @handing_over.setter
    def handing_over(self, value: bool) -> None:
        self._handing_over = value
        self._journal.cancellable = not self.once

    @property
    def once(self) -> bool:
        """Whether what the broker has acknowledged is never sent again."""
        return self.single or self._handing_over

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                # First a free slot, then the rows: the more wait meanwhile, the more go in one message.
                await self._slots.acquire()
                entries = await self._next()
                self._in_flight.update(entry.number for entry in entries)
                tasks.create_task(self._deliver(entries), name="publish")

    def on_connect(self) -> None:
        """To be called when the broker is connected: it may have forgotten whatever it acknowledged before."""
        self._hello_at = None
        self._decisions.clear()
        self._go_back(self._cursor if self.once else 0)

    def on_message(self, topic: str, _payload: bytes) -> None:
        """To be called with what comes on topics.HELLO: a writer may have missed what was sent before."""
        if topic != topics.HELLO or self.once:
            return
        self._decisions.clear()
        if self._hello_at is None:
            loop = asyncio.get_running_loop()
            self._hello_at = loop.time() + HELLO_PAUSE
            loop.call_later(HELLO_PAUSE, self._wake.set)

    def acknowledged(self, entry: Entry) -> bool:
        """Whether the broker has acknowledged this row of ours, on this connection; if not, it is yet to be sent."""
        # What is beyond the head was claimed, not accepted, here; `send` has had it acknowledged.
        to_be_sent = self._cursor < entry.number <= self._head
        return not to_be_sent and entry.number not in self._in_flight

    def decision_sent(self, entry: Entry) -> bool:
        """Whether the broker has acknowledged on this connection that the row is cancelled, or what an operator decided
        about it, and no writer has come since."""
        return entry.decision in self._decisions

    async def send(self, entries: Sequence[Entry]) -> None:
        """Sends rows, of whatever gateway, beside the cursor; returns once the broker has acknowledged them all.

        Raises BrokerAway, also in a pause; those that are our own are sent when it is back.
        """
        if self._paused:
            raise BrokerAway("nothing is sent in a pause")
        size = 1 if self.single else topics.BATCH_SIZE
        ours = [entry for entry in entries if entry.owner == self._journal.owner]
        self._in_flight.update(entry.number for entry in ours)
        try:
            for start in range(0, len(entries), size):
                async with self._slots:
                    await self._publish(entries[start : start + size])
            if self._behind or self._tail:
                self._sent_beside.update(entry.number for entry in ours)
        except BrokerAway:
            self._send_later(ours)
            raise
        finally:
            self._in_flight.difference_update(entry.number for entry in ours)

    def _on_accepted(self, entries: Sequence[Entry]) -> None:
        self._head = max(self._head, entries[-1].number)
        begins = not self._tail
        if not self._behind:
            # Some may have been read from the journal before they are told of here.
            read = max(self._cursor, self._tail[-1].number if self._tail else 0)
            if entries[0].number <= read:
                entries = [entry for entry in entries if entry.number > read]
        if not self._behind and len(self._tail) + len(entries) <= MAX_TAIL:
            self._tail.extend(entries)
        else:
            self._behind = True
        if begins:
            self._gathers_since = asyncio.get_running_loop().time()
        if begins or len(self._tail) >= topics.BATCH_SIZE:
            self._wake.set()

    def _on_cancel(self, entry: Entry) -> None:
        self._cancels.append(entry)
        self._wake.set()

    async def _next(self) -> list[Entry]:
        """Waits for what is to be sent next."""
        while True:
            self._wake.clear()
            if not self.connected:
                await self._wait(LOOK_AGAIN)
            elif self._cancels:
                return self._take(self._cancels)
            elif self._greeted():
                self._go_back(0)
                self._again_until = self._head
            elif self._tail:
                if (left := self._gathers_for()) > 0:
                    await self._wait(left)
                    continue
                entries = self._take(self._tail)
                self._cursor = entries[-1].number
                if entries := [entry for entry in entries if self._is_wanted(entry)]:
                    return entries
            elif self._behind:
                await self._read_on()
            else:
                # Nothing that was read is left, so nothing of it need be told apart.
                self._sent_beside.clear()
                await self._wait(None)

    def _gathers_for(self) -> float:
        """Seconds for which what is to be sent next waits for more."""
        if self.once or self._behind or len(self._tail) >= topics.BATCH_SIZE:
            return 0.0
        return self._gathers_since + self._gather - asyncio.get_running_loop().time()

    async def _wait(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _greeted(self) -> bool:
        """Whether to begin again for a writer's hello: not before one is through that was begun for an earlier one."""
        due = self._hello_at is not None and asyncio.get_running_loop().time() >= self._hello_at
        through = self._cursor >= self._again_until or not (self._behind or self._tail)
        if due and through:
            self._hello_at = None
            return True
        return False

    def _is_wanted(self, entry: Entry) -> bool:
        # It may have ended meanwhile, and what must not be sent twice may be on its way.
        on_its_way = self.once and entry.number in self._in_flight
        sent = on_its_way or entry.number in self._sent_beside
        return self._journal.is_unsettled(entry.command_id) and not sent

    def _take(self, source: deque[Entry]) -> list[Entry]:
        size = 1 if self.single else min(len(source), topics.BATCH_SIZE)
        return [source.popleft() for _ in range(size)]

    def _go_back(self, number: int) -> None:
        """Continues after `number`, from the journal: rows may have been cancelled or settled since."""
        self._cursor = min(self._cursor, number)
        self._tail.clear()
        self._behind = True
        self._wake.set()

    async def _read_on(self) -> None:
        cursor, head = self._cursor, self._head
        # What is read from here on is known to the journal to be sent, or is to be sent again.
        self._sent_beside.clear()
        try:
            entries = await self._journal.queued(cursor, READ_AT_ONCE, unsent=self.once)
        except JournalUnavailable as error:
            log.warning("cannot send: %s", error)
            await self._backoff.pause()
            return
        if self._cursor != cursor:
            return  # gone back meanwhile
        self._tail.extend(entries)
        if len(entries) < READ_AT_ONCE:
            # All that was committed up to the head has been read; what was accepted meanwhile stands behind it.
            self._behind = self._head != head

    def _send_later(self, entries: Sequence[Entry]) -> None:
        """Goes back to the first of our rows that was not acknowledged. The sweep sees to what was decided since."""
        numbers = [entry.number for entry in entries if self.once or not (entry.cancelled or entry.operation_open)]
        if numbers:
            self._head = max(self._head, *numbers)
            self._go_back(min(numbers) - 1)

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        """Publishes what came from `_next`, and frees its slot."""
        try:
            await self._publish(entries)
            self._backoff.reset()
        except BrokerAway as error:
            log.debug("to be sent again, %d commands: %s", len(entries), error)
            self._send_later(entries)
            # With the slot, so that a connection that only seems to be one is not hammered.
            await self._backoff.pause()
        finally:
            self._in_flight.difference_update(entry.number for entry in entries)
            self._slots.release()

    async def _publish(self, entries: Sequence[Entry]) -> None:
        """Sends rows in as few messages as may be; returns once all is acknowledged and what has to be is recorded."""
        single, handing_over = self.single, self._handing_over
        for topic, payload in self._pack(entries):
            await self._link.publish(topic, payload)
        if log.isEnabledFor(logging.DEBUG):
            for entry in entries:
                log.debug("sent command=%s", entry.command_id)
        if handing_over:
            self._journal.hand_over([entry.command_id for entry in entries])
        elif single:
            await self._mark_sent([entry.command_id for entry in entries])
        self._decisions.update(
            entry.decision for entry in entries if entry.operation_open or (entry.cancelled and not self.once)
        )

    def _pack(self, entries: Sequence[Entry]) -> Iterator[tuple[str, bytes]]:
        moment, seen = now(), self._journal.seen
        cancelled = [entry for entry in entries if entry.cancelled and not self.once]
        others = [entry for entry in entries if not entry.cancelled or self.once]
        if len(others) == 1:
            command = others[0].message(moment, seen=seen, contract_only=self.once)
            yield TOPICS[others[0].kind], body_of(command).SerializeToString()
        for topic, part in ((topics.BATCH, others if len(others) > 1 else []), (topics.CANCEL, cancelled)):
            if part:
                batch = CommandBatch()
                for entry in part:
                    entry.fill(batch.command.add(), moment, seen=seen, contract_only=self.once)
                yield topic, batch.SerializeToString()

    async def _mark_sent(self, command_ids: Sequence[str]) -> None:
        """Records it, however long that takes: what is not recorded would be sent again by the next process."""
        while True:
            try:
                return await self._journal.mark_sent(command_ids)
            except JournalUnavailable:  # the log says it already
                await asyncio.sleep(LOOK_AGAIN)
