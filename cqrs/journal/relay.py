"""Sends what the journal has accepted, in its order; it may lag but leaves nothing out."""

import asyncio
import logging
from collections.abc import Sequence

from cqrs.journal import rows
from cqrs.journal.cursor import Cursor
from cqrs.journal.delivery import Deliveries, at_least_once
from cqrs.journal.errors import BrokerAway, JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.packing import pack
from cqrs.journal.record import Record
from cqrs.journal.settlement import State
from cqrs.transport.backoff import Backoff
from cqrs.transport.codec import Codec
from cqrs.transport.link import Link
from protocol import topics

log = logging.getLogger("cqrs.journal.relay")

# Seconds that a command waits to be sent for others to go with it; a tenth of the delay, where that is less. It takes
# effect no later for that. At 500 a second 25 go in a message, and what each message costs is paid a 25th as often.
LINGER = 0.05
READ_AT_ONCE = 1000
# Cancels that wait to be sent; the sweep sends what is beyond.
MAX_CANCELS = 1000
# Seconds in which the hellos of several writers are one.
HELLO_PAUSE = 0.1
# Seconds between two looks at the connection while it is down; on_connect comes before.
LOOK_AGAIN = 0.5


class Relay:
    """Sends each command of this process once it is committed, and again when it may have been lost.

    Alone as the contract has it when nothing else waits, else several in one message; a cancelled one on topics.CANCEL.
    When the broker comes back or a writer says hello, all that is unsettled is sent again, if the delivery repeats.

    codec: how a command alone travels. delivery: how commands are delivered at present.
    in_flight: messages that may wait for their acknowledgement.
    """

    def __init__(
        self,
        journal: Journal,
        link: Link,
        codec: Codec,
        *,
        delivery: Deliveries = at_least_once,
        in_flight: int = 16,
    ) -> None:
        self._journal = journal
        self._link = link
        self._codec = codec
        self._delivery = delivery
        self._paused = False
        self._free = asyncio.Semaphore(in_flight)
        self._wake = asyncio.Event()
        self._backoff = Backoff()
        self._cursor = Cursor()
        # When the first row of the tail came, on the loop's clock.
        self._lingers_since = 0.0
        self._linger = min(LINGER, journal.delay / 10)
        self._cancels: dict[str, Record] = {}
        self._in_flight: set[int] = set()
        self._hello_at: float | None = None
        # The row up to which a full resend goes that a hello began.
        self._resends_until = 0
        # By command id, what was decided and the broker has acknowledged; of unsettled commands alone.
        self._decisions: dict[str, tuple[bool, int]] = {}
        journal.listen(self._on_accepted, self._on_cancel, self._on_settled)

    @property
    def connected(self) -> bool:
        """Whether anything can be sent: there is a connection to the broker, and no pause."""
        return self._link.connected and not self._paused

    @property
    def lag(self) -> int:
        """How many commands of this process the broker has not acknowledged, at most; 0 only once that is known."""
        return self._cursor.unsent + len(self._in_flight)

    def pause(self) -> None:
        """Sends nothing from now on, whatever is accepted."""
        self._paused = True

    def resume(self) -> None:
        """Ends a pause: all that is unsettled is sent again, since rows may wait for others than before."""
        if self._paused:
            self._paused = False
            self.on_connect()

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                # First the right to send, then the rows: the more wait meanwhile, the more go in one message.
                await self._free.acquire()
                records = await self._next()
                self._in_flight.update(record.number for record in records)
                tasks.create_task(self._deliver(records), name="publish")

    def on_connect(self) -> None:
        """To be called when the broker is connected: it may have forgotten whatever it acknowledged before."""
        self._hello_at = None
        self._decisions.clear()
        self._go_back(0 if self._delivery().repeats else self._cursor.position)

    def on_message(self, topic: str, _payload: bytes) -> None:
        """To be called with what comes on topics.HELLO: a writer may have missed what was sent before."""
        if topic != topics.HELLO or not self._delivery().repeats:
            return
        self._decisions.clear()
        if self._hello_at is None:
            loop = asyncio.get_running_loop()
            self._hello_at = loop.time() + HELLO_PAUSE
            loop.call_later(HELLO_PAUSE, self._wake.set)

    def acknowledged(self, record: Record) -> bool:
        """Whether the broker has acknowledged this row of ours, on this connection; if not, it is yet to be sent."""
        return not self._cursor.has_yet_to_send(record.number) and record.number not in self._in_flight

    def decision_sent(self, record: Record) -> bool:
        """Whether the broker has acknowledged on this connection that the row is cancelled, or what an operator decided
        about it, and no writer has come since."""
        return self._decisions.get(record.command_id) == record.decision

    async def send(self, records: Sequence[Record]) -> None:
        """Sends rows, of whatever gateway, beside the cursor; returns once the broker has acknowledged them all.

        Raises BrokerAway, also in a pause; rows of our own are sent when it is back.
        """
        if self._paused:
            raise BrokerAway("nothing is sent in a pause")
        size = self._delivery().batch_size
        ours = [record for record in records if record.owner == self._journal.owner]
        numbers = {record.number for record in ours}
        self._in_flight |= numbers
        try:
            for start in range(0, len(records), size):
                async with self._free:
                    await self._publish(records[start : start + size])
            self._cursor.note_sent_beside(numbers)
        except BrokerAway:
            self._send_later(ours)
            raise
        finally:
            self._in_flight -= numbers

    def _on_accepted(self, records: Sequence[Record]) -> None:
        begins = not len(self._cursor)
        self._cursor.add(records)
        if begins:
            self._lingers_since = asyncio.get_running_loop().time()
        if begins or len(self._cursor) >= topics.BATCH_SIZE:
            self._wake.set()

    def _on_cancel(self, record: Record) -> None:
        if len(self._cancels) < MAX_CANCELS:
            self._cancels[record.command_id] = record
            self._wake.set()

    def _on_settled(self, command_id: str) -> None:
        self._decisions.pop(command_id, None)

    async def _next(self) -> list[Record]:
        """Waits for what is to be sent next."""
        while True:
            self._wake.clear()
            if not self.connected:
                await self._wait(LOOK_AGAIN)
            elif self._cancels:
                some = list(self._cancels)[: self._delivery().batch_size]
                return [self._cancels.pop(command_id) for command_id in some]
            elif self._resend_is_due():
                self._go_back(0)
                self._resends_until = self._cursor.head
            elif len(self._cursor):
                if (left := self._lingers_for()) > 0:
                    await self._wait(left)
                elif records := [each for each in self._cursor.take(self._delivery().batch_size) if self._wanted(each)]:
                    return records
            elif self._cursor.behind:
                await self._read_on()
            else:
                await self._wait(None)

    def _lingers_for(self) -> float:
        """Seconds for which what is to be sent next waits for more."""
        if not self._delivery().repeats or self._cursor.behind or len(self._cursor) >= topics.BATCH_SIZE:
            return 0.0
        return self._lingers_since + self._linger - asyncio.get_running_loop().time()

    async def _wait(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _resend_is_due(self) -> bool:
        """Whether to start a full resend because a writer came up. Waits for a resend in progress to finish."""
        due = self._hello_at is not None and asyncio.get_running_loop().time() >= self._hello_at
        finished = self._cursor.position >= self._resends_until or not self._cursor.unsent
        if due and finished:
            self._hello_at = None
            return True
        return False

    def _wanted(self, record: Record) -> bool:
        # It may have ended meanwhile, and what must not be sent twice may be on its way. What was claimed because an
        # operator decided about it is parked: the sweep sends it.
        if record.state != State.QUEUED:
            return False
        on_its_way = record.number in self._in_flight and not self._delivery().repeats
        return self._journal.is_unsettled(record.command_id) and not on_its_way

    def _go_back(self, number: int) -> None:
        self._cursor.go_back(number)
        self._wake.set()

    async def _read_on(self) -> None:
        begun = self._cursor.begin_reading()
        unsent = not self._delivery().repeats
        try:
            records = await self._journal.queued(self._cursor.position, READ_AT_ONCE, unsent=unsent)
        except JournalUnavailable as error:
            log.warning("cannot send: %s", error)
            await self._backoff.pause()
            return
        self._cursor.end_reading(begun, records, is_all=len(records) < READ_AT_ONCE)

    def _send_later(self, records: Sequence[Record]) -> None:
        """Goes back to the first of our rows that was not acknowledged. The sweep sees to what was decided since."""
        once = not self._delivery().repeats
        numbers = [each.number for each in records if once or not (each.cancelled or each.operation_open)]
        if numbers:
            self._cursor.go_back_before(numbers)
            self._wake.set()

    async def _deliver(self, records: Sequence[Record]) -> None:
        """Publishes what came from `_next`, and makes room for the next message."""
        try:
            await self._publish(records)
            self._backoff.reset()
        except BrokerAway as error:
            log.debug("to be sent again, %d commands: %s", len(records), error)
            self._send_later(records)
            # Before there is room, so that a connection that only seems to be one is not hammered.
            await self._backoff.pause()
        finally:
            self._in_flight.difference_update(record.number for record in records)
            self._free.release()

    async def _publish(self, records: Sequence[Record]) -> None:
        """Sends rows in as few messages as may be; returns once all is acknowledged and what has to be is recorded."""
        delivery, seen = self._delivery(), self._journal.history.position
        for record in records:
            delivery.stamp(record.command.meta, self._journal.waited_ms(record), seen)
        for topic, payload in pack([record.command for record in records], self._codec):
            await self._link.publish(topic, payload)
        if log.isEnabledFor(logging.DEBUG):
            for record in records:
                log.debug("sent command=%s", record.command_id)
        if not delivery.repeats:
            await self._record_sent([record.command_id for record in records], delivery.tells_outcomes)
        for record in records:
            # What has ended meanwhile is forgotten already, and has to stay so.
            if (record.operation_open or record.cancelled) and self._journal.is_unsettled(record.command_id):
                self._decisions[record.command_id] = record.decision

    async def _record_sent(self, command_ids: Sequence[str], outcomes_follow: bool) -> None:
        """Records it, however long that takes: what is not recorded would be sent again by the next process."""
        if not outcomes_follow:
            self._journal.hand_over(command_ids)
            return None
        while True:
            try:
                return await self._journal.write(lambda: rows.mark_sent(command_ids))
            except JournalUnavailable:  # the log says it already
                await asyncio.sleep(LOOK_AGAIN)
