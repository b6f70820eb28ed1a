"""Brings back what a database has lost that was reset or restored: what the journal says was applied to it since.

The journal is not changed by it: what was settled stays settled. How far a replay has come the database itself knows,
by command id: one that is interrupted and begun again sends what is still unknown, and nothing takes effect twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from asgiref.sync import sync_to_async

from cqrs.journal import rows, tracked_history
from cqrs.journal.commands import body_of, meta_of
from cqrs.journal.entry import Entry
from cqrs.journal.errors import BrokerAway, CommandError
from cqrs.journal.models import FollowedDatabase
from cqrs.journal.relay import TOPICS
from cqrs.journal.settlement import State, now
from cqrs.recovery import redrive_rows
from cqrs.recovery.history_guard import BEGINNING, ReadNotices, Refusals, difference
from cqrs.recovery.redrive_rows import Plan
from cqrs.transport.backoff import describe
from protocol import topics
from protocol.contact_write_pb2 import Command, CommandBatch
from protocol.cqrs_command_pb2 import Operation
from protocol.notice_pb2 import Notice, NoticeBatch

# Commands under way at once, all of which have come to their end before others are sent; and in one question.
WINDOW = 1000
# Seconds between two questions what became of them, until they are sent again, and until it is given up.
ASK_EVERY = 0.1
AGAIN = 5.0
PATIENCE = 60.0
# Seconds that one which is parked here has to end otherwise; then it is left to a person.
PARKED_AGAIN = 10.0

GetOutcomes = Callable[[Sequence[str]], Awaitable[Mapping[str, Notice]]]
Publish = Callable[[str, bytes], Awaitable[None]]


class ReplayError(CommandError):
    """The replay cannot go on; it can be begun again."""


class Replayed(NamedTuple):
    """What a replay did."""

    sent: int
    rejected: Sequence[tuple[str, str]]  # commands that were applied once and are rejected now, and why
    parked: Sequence[str]


class Replay:
    """Replays into the database that greets with `greeting`, the first batch of its notices.

    get_outcomes: the newest notice of each command that has one; up to 1,000 ids a call. read_notices, refusals: as
    `Recognition` takes them. single: one command a message, on the contract's topics alone.
    """

    def __init__(
        self,
        greeting: NoticeBatch,
        get_outcomes: GetOutcomes,
        read_notices: ReadNotices,
        *,
        refusals: Refusals,
        single: bool = False,
    ) -> None:
        self._greeting = greeting
        self._get_outcomes = get_outcomes
        self._read_notices = read_notices
        self._refusals = refusals
        self._single = single
        # Were it restored again meanwhile, what is sent would be left.
        self._seen = "" if greeting.head == BEGINNING else greeting.head
        # What was parked on the way, by contact: the contact's next has to wait behind it.
        self._parked: dict[str, str] = {}

    async def plan(self) -> Plan | None:
        """What there is to do; None when the database is the one that is followed. Publishing pauses from here on."""
        self._row = row = await sync_to_async(tracked_history.read)()
        if row is None:
            return None
        why = await difference(row, self._greeting, self._read_notices, self._refusals)
        if not why:
            return None
        if not row.lost_at:
            await redrive_rows.write(lambda: tracked_history.lose(row, why))
        self._numbers, plan = await sync_to_async(redrive_rows.plan)(row, why, await self._in_common(row))
        return plan

    async def run(self, publish: Publish, progress: Callable[[int, int], None]) -> Replayed:
        """Replays what `plan` found, then has the gateways follow this database and send what waits.

        publish: sends to a topic; returns once the broker has it, or raises BrokerAway. progress: called with how many
        are done, of how many. Raises ReplayError when nothing comes of it for a minute.
        """
        sent, furthest = 0, (0, self._greeting.head)
        rejected: list[tuple[str, str]] = []
        for start in range(0, len(self._numbers), WINDOW):
            progress(start, len(self._numbers))
            window = await sync_to_async(redrive_rows.window)(self._numbers[start : start + WINDOW])
            outcomes, count = await self._replay(window, publish)
            sent += count
            for entry in window:
                outcome = outcomes[entry.command_id]
                furthest = max(furthest, (outcome.number, outcome.position))
                if entry.state == State.APPLIED and outcome.kind == Notice.REJECTED:
                    rejected.append((entry.command_id, outcome.message))
                if outcome.kind == Notice.PARKED:
                    self._parked[entry.contact_id] = entry.command_id
            await redrive_rows.write(partial(redrive_rows.renumber, outcomes))
        progress(len(self._numbers), len(self._numbers))
        await self._follow(*furthest)
        return Replayed(sent, rejected, list(self._parked.values()))

    async def leave(self) -> None:
        """Has the gateways follow this database without what it has lost, and send what waits."""
        for numbers in rows.chunks(self._numbers):
            await redrive_rows.write(partial(redrive_rows.unnumber, numbers))
        await self._follow(0, self._greeting.head)

    async def _follow(self, number: int, position: str) -> None:
        database, memory, row = self._greeting.database, self._greeting.memory, self._row

        def begin() -> bool:
            begun = tracked_history.begin(database, position, memory=memory, instead_of=row, number=number)
            if begun is not None:
                rows.chain_anew()
            return begun is not None

        if not await redrive_rows.write(begin):
            raise ReplayError("another replay came first: see /readyz")

    async def _in_common(self, row: FollowedDatabase) -> int:
        """The number of the last notice that both the followed database and the one in its place have."""
        if self._greeting.database != row.database:
            return 0
        if row.common_position and await self._has(row.common_position):
            # Of an earlier run, before anything was replayed: what is known by now need not be what always was.
            return row.common_number or 0
        number, position = await self._newest_known()
        await redrive_rows.write(lambda: tracked_history.have_in_common(row, number, position))
        return number

    async def _has(self, position: str) -> bool:
        try:
            await self._read_notices(position, 1)
        except self._refusals.unknown:
            return False
        except self._refusals.too_old:
            pass
        return True

    async def _newest_known(self) -> tuple[int, str]:
        """Looked for from the end on, so that it costs no more than what is lost."""
        numbers = await sync_to_async(redrive_rows.numbers_after)(0)
        for end in range(len(numbers), 0, -WINDOW):
            window = await sync_to_async(redrive_rows.notice_numbers)(numbers[max(0, end - WINDOW) : end])
            outcomes = await self._get_outcomes(list(window))
            known = [(n.number, n.position) for name, n in outcomes.items() if window[name] == n.number]
            if known:
                return max(known)
        return 0, BEGINNING

    async def _replay(self, window: Sequence[Entry], publish: Publish) -> tuple[Mapping[str, Notice], int]:
        """The notices of all commands of the window, once each has one, and how many of them had none before."""
        outcomes = dict(await self._get_outcomes([entry.command_id for entry in window]))
        # What this database has as parked came to its end in the one that was lost.
        parked = {command_id: notice.number for command_id, notice in outcomes.items() if notice.kind == Notice.PARKED}
        lost = [entry for entry in window if entry.command_id not in outcomes or entry.command_id in parked]
        lost = await sync_to_async(redrive_rows.with_predecessors)(lost)
        waiting = self._chained(lost, parked)
        sent, again_at, give_up_at = len(waiting), 0.0, time.monotonic() + PATIENCE
        parked_until = time.monotonic() + PARKED_AGAIN
        away = ""
        while waiting:
            if time.monotonic() >= give_up_at:
                raise ReplayError(
                    f"nothing came of {len(waiting)} commands for {PATIENCE:g} s: do broker and writer run? {away}"
                )
            try:
                if time.monotonic() >= again_at:
                    await self._send(list(waiting.values()), publish)
                    again_at, away = time.monotonic() + AGAIN, ""
            except BrokerAway as error:
                away = describe(error)
            await asyncio.sleep(ASK_EVERY)
            for ids in rows.chunks(list(waiting)):
                for command_id, notice in (await self._get_outcomes(ids)).items():
                    if notice.kind == Notice.PARKED and command_id in parked and time.monotonic() < parked_until:
                        continue  # still, or until what it is parked behind has ended
                    del waiting[command_id]
                    outcomes[command_id] = notice
                    give_up_at = time.monotonic() + PATIENCE
        return outcomes, sent

    def _chained(self, entries: Sequence[Entry], parked: Mapping[str, int]) -> dict[str, Command]:
        """The messages in order, each to follow on the one before it of the same contact.

        What had no effect is made known as withdrawn: nothing that still may come of it has one then, and what waits
        for it need not. What had one and is parked here (by which notice) is tried again, as it was amended.
        """
        last = dict(self._parked)
        moment = now()
        messages: dict[str, Command] = {}
        for entry in entries:
            command = messages[entry.command_id] = entry.message(moment, seen=self._seen)
            meta = meta_of(command)
            meta.depends_on = last.get(entry.contact_id, "")
            if entry.state in (State.REJECTED, State.CANCELLED, State.DISCARDED):
                meta.ClearField("operation")
                meta.cancelled = True
            else:
                if notice := parked.get(entry.command_id):
                    meta.operation.notice = notice
                    if meta.operation.kind != Operation.AMEND:
                        meta.operation.kind = Operation.RETRY
                last[entry.contact_id] = entry.command_id
        return messages

    async def _send(self, commands: Sequence[Command], publish: Publish) -> None:
        """One message after the other, so that what depends on nothing comes in order too."""
        size = 1 if self._single else topics.BATCH_SIZE
        for start in range(0, len(commands), size):
            part = commands[start : start + size]
            if self._single:
                await publish(TOPICS[str(part[0].WhichOneof("body")).upper()], body_of(part[0]).SerializeToString())
            else:
                await publish(topics.BATCH, CommandBatch(command=part).SerializeToString())
