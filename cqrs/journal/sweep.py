"""Repairs what got lost on the way: asks what became of overdue commands, and sends the unknown ones again."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from cqrs.journal import rows
from cqrs.journal.delivery import Deliveries, at_least_once
from cqrs.journal.errors import BrokerAway, JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.record import Record
from cqrs.journal.relay import Relay
from cqrs.journal.settlement import State
from cqrs.journal.takeover import Takeover
from cqrs.transport.backoff import describe, keep
from protocol import topics
from protocol.cqrs_notice_pb2 import Notice

log = logging.getLogger("cqrs.journal.sweep")

# Seconds between two looks at the journal, where there is something to be looked for.
EVERY = 0.25
# Seconds for which nothing is looked for while every command that is known waits for its time.
QUIET = 5.0
# Seconds between two comparisons of memory and journal.
RECONCILE_EVERY = 1.0
# Commands in one question, and pages of so many rows in one look.
ASK_AT_ONCE = 1000
PAGES = 5
# A command is overdue when it was due so many seconds before the newest that took effect ...
BEHIND = 0.3
# ... or when none took effect for so many.
SILENCE = 1.0
# Seconds more for the commands of other gateways, who see to them themselves.
OTHERS_LATER = 1.0
# Seconds until a command that was asked for is asked for again: doubling from the first to the most.
FIRST_PAUSE = 1.0
MOST_PAUSE = 8.0
# The same for one that is parked: it waits for a person.
PARKED_PAUSE = 30.0

LAST = datetime.max.replace(tzinfo=UTC)


class _Asked(NamedTuple):
    times: int
    again_at: float
    ours: bool


class Sweep:
    """Sees that every unsettled command of the journal, of whichever gateway, comes to its end.

    get_outcomes: the newest notice of each command that has one; up to 1,000 ids a call.
    away: what it raises while the read side cannot tell: then nothing is sent again, since that would not help.
    delivery: how commands are delivered at present.
    """

    def __init__(
        self,
        journal: Journal,
        relay: Relay,
        get_outcomes: Callable[[Sequence[str]], Awaitable[Mapping[str, Notice]]],
        *,
        away: tuple[type[Exception], ...],
        delivery: Deliveries = at_least_once,
    ) -> None:
        self._journal = journal
        self._relay = relay
        self._get_outcomes = get_outcomes
        self._away = away
        self._delivery = delivery
        self._clock = journal.clock
        self._takeover = Takeover(journal, relay, self._send)
        self._asked: dict[str, _Asked] = {}
        self._seen: set[str] = set()
        self._place: tuple[datetime, int] | None = None
        # Whether this round is through with what is due, and looks at what is due too late.
        self._ahead = False
        self._started_at = self._clock.now()
        # Whatever other gateways had left at our start is asked for once, due or not.
        self._first = True
        self._waiting = False
        # Whether something that was decided is on its way: it may have to be sent again.
        self._decided = False
        # Until when, and up to which row, the last round has seen to all.
        self._quiet_until = 0.0
        self._quiet_head = 0

    async def run(self) -> None:
        """Sweeps until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, session in (
                ("pick up", self._pick_up_changes),
                ("repair", partial(self._every, EVERY, self._repair_unless_quiet)),
                ("reconcile", partial(self._every, RECONCILE_EVERY, self._journal.reconcile)),
            ):
                kept = keep(session, what=f"the journal ({name})", errors=(JournalUnavailable,))
                tasks.create_task(kept, name=f"sweep: {name}")

    async def _every(self, pause: float, look: Callable[[], Awaitable[None]], connected: Callable[[], None]) -> None:
        while True:
            await look()
            connected()
            await asyncio.sleep(pause)

    async def _pick_up_changes(self, connected: Callable[[], None]) -> None:
        async with contextlib.aclosing(rows.changes(EVERY)) as changes:
            async for _ in changes:
                await self.pick_up()
                connected()
                while self._decided or not self._relay.connected:
                    await asyncio.sleep(EVERY)
                    await self.pick_up()

    def begin_again(self) -> None:
        """Forgets when it has asked for which command: the next round sees to all that are overdue."""
        self._asked.clear()
        self._quiet_until = 0.0

    def on_message(self, topic: str, _payload: bytes) -> None:
        """To be called with what comes on topics.HELLO: a writer is there to take what dead gateways have left."""
        if topic == topics.HELLO:
            self._quiet_until = 0.0
            self._asked = {command_id: asked for command_id, asked in self._asked.items() if asked.ours}

    async def pick_up(self) -> None:
        """Claims commands without an owner, which the relay then sends; sends cancels and what operators decided.

        Raises JournalUnavailable.
        """
        if not self._relay.connected:
            return  # leaves them to a gateway that is
        await self._journal.catch_up()
        cancels = self._delivery().repeats
        decided = await self._journal.read(lambda: rows.decided(ASK_AT_ONCE, cancels=cancels))
        self._decided = bool(decided)
        unsent = [each for each in decided if not self._relay.decision_sent(each)]
        if unsent:
            await self._send(unsent)

    async def _repair_unless_quiet(self) -> None:
        if asyncio.get_running_loop().time() >= self._quiet_until or self._journal.head != self._quiet_head:
            await self.repair()

    async def repair(self) -> None:
        """Looks at the next pages of what is due, and repairs what is overdue. Raises JournalUnavailable."""
        for _ in range(PAGES):
            before = self._ahead, self._place
            page = await self._next_page()
            self._seen.update(record.command_id for record in page)
            overdue = [record for record in page if self._is_overdue(record)]
            if overdue and not await self._see_to(overdue):
                self._ahead, self._place = before
                return
            if len(page) < ASK_AT_ONCE:
                self._end_round()
                return
            self._place = (page[-1].takes_effect_at, page[-1].number)

    async def _next_page(self) -> list[Record]:
        """The next rows of this round: those that are due, then those due so late that the clock was set back."""
        page: list[Record] = []
        if not self._ahead:
            moment = LAST if self._first else datetime.fromtimestamp(self._overdue_before(), UTC)
            page = await self._due_before(moment, ASK_AT_ONCE)
            if self._first or len(page) == ASK_AT_ONCE:
                return page
            self._ahead, self._place = True, (self._latest_due(), 0)
        return page + await self._due_before(LAST, ASK_AT_ONCE - len(page))

    async def _due_before(self, moment: datetime, limit: int) -> list[Record]:
        return await self._journal.read(lambda: rows.due_before(moment, self._place, limit))

    def _end_round(self) -> None:
        if self._seen <= self._asked.keys() and self._journal.unsettled <= len(self._seen):
            again_at = (self._asked[command_id].again_at for command_id in self._seen)
            self._quiet_until = min((asyncio.get_running_loop().time() + QUIET, *again_at))
            self._quiet_head = self._journal.head
        self._asked = {command_id: asked for command_id, asked in self._asked.items() if command_id in self._seen}
        self._seen = set()
        self._place = None
        self._ahead = False
        self._first = False

    def _latest_due(self) -> datetime:
        """What is due later than this was accepted before the clock was set back."""
        return self._clock.now() + timedelta(seconds=self._journal.delay + OTHERS_LATER)

    def _overdue_before(self) -> float:
        """A command of ours that was due before (seconds since 1970) is overdue."""
        clock = self._clock.wall()
        # The clock may have been set back.
        overdue = min(self._journal.newest_due, clock) - BEHIND
        if asyncio.get_running_loop().time() - self._journal.settled_on >= SILENCE:
            overdue = max(overdue, clock - SILENCE)
        return overdue

    def _is_overdue(self, record: Record) -> bool:
        if self._journal.is_settled(record.command_id):
            return False  # and merely waits to be recorded
        asked = self._asked.get(record.command_id)
        if asked is not None:
            return asyncio.get_running_loop().time() >= asked.again_at
        ours = record.owner == self._journal.owner
        if ours and not self._relay.acknowledged(record):
            return False  # what the relay has yet to send is late, not lost
        if self._first and not ours and record.accepted_at <= self._started_at:
            return True
        if record.takes_effect_at > self._latest_due():
            # The moment of its acceptance is not known any more: it gets its delay from now on.
            delay = (record.takes_effect_at - record.accepted_at).total_seconds()
            self._asked[record.command_id] = _Asked(0, asyncio.get_running_loop().time() + delay + SILENCE, ours)
            return False
        before = self._overdue_before()
        return record.takes_effect_at.timestamp() < (before if ours else before - OTHERS_LATER)

    async def _see_to(self, overdue: Sequence[Record]) -> bool:
        """Settles what is known and sends the rest; False: that cannot be done now."""
        delivery = self._delivery()
        if not delivery.tells_outcomes:
            return await self._takeover.hand_over(overdue)
        try:
            outcomes = await self._get_outcomes([record.command_id for record in overdue])
        except self._away as error:
            if not self._waiting:
                log.warning("waiting to ask what became of %d overdue commands: %s", len(overdue), describe(error))
            self._waiting = True
            return False
        if self._waiting:
            log.info("asking again what became of overdue commands")
            self._waiting = False
        self._journal.settle(list(outcomes.values()))
        unknown = [
            record
            for record in overdue
            if _is_unanswered(record, outcomes.get(record.command_id))
            and not self._journal.is_settled(record.command_id)
        ]
        if delivery.repeats:
            sent = not unknown or await self._send(unknown)
        else:
            sent = await self._takeover.take_over_or_give_up(unknown)
        # What could not be sent counts as not asked for: its pauses do not grow by an outage, and the first round, the
        # only one that looks at what is not due yet, does not pass over it.
        unsent = set() if sent else {record.command_id for record in unknown}
        for record in overdue:
            if record.command_id not in unsent:
                waits = record.state == State.PARKED or record.command_id in outcomes
                self._remember(record, waits and not record.operation_open)
        return sent

    def _remember(self, record: Record, parked: bool) -> None:
        before = self._asked.get(record.command_id)
        times = 0 if before is None else before.times
        pause = PARKED_PAUSE if parked else min(FIRST_PAUSE * 2**times, MOST_PAUSE)
        # Spread, so that what was lost at once does not come back at once for ever.
        again_at = asyncio.get_running_loop().time() + pause * random.uniform(0.75, 1.25)
        self._asked[record.command_id] = _Asked(times + 1, again_at, record.owner == self._journal.owner)

    async def _send(self, records: Sequence[Record]) -> bool:
        try:
            await self._relay.send(records)
        except BrokerAway:
            return False  # the relay goes on when it is back
        return True


def _is_unanswered(record: Record, newest: Notice | None) -> bool:
    """Whether the database knows nothing of the command, or not of what an operator decided about it."""
    if newest is None:
        return True
    return (
        record.operation_open and newest.kind == Notice.PARKED and newest.number <= record.command.meta.operation.notice
    )
