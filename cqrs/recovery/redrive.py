"""Brings back what a database has lost that was reset or restored: what the journal says was applied to it since.

The journal is not changed by it: what was settled stays settled. The database itself knows how far a redrive has come,
by command id: one that is interrupted and begun again sends what is still unknown, and nothing takes effect twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from asgiref.sync import sync_to_async

from cqrs.journal import rows, tracked_history
from cqrs.journal.clock import now
from cqrs.journal.errors import BrokerAway, CommandError
from cqrs.journal.models import TrackedHistory
from cqrs.journal.pending import Key
from cqrs.journal.record import Record
from cqrs.journal.settlement import State
from cqrs.recovery import redrive_rows
from cqrs.recovery.history_guard import BEGINNING, ReadNotices, Refusals, difference
from cqrs.recovery.redrive_rows import Plan
from cqrs.transport.backoff import describe
from cqrs.transport.codec import Codec
from protocol import topics
from protocol.cqrs_command_pb2 import Command, CommandBatch, Operation
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch

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


class RedriveError(CommandError):
    """The redrive cannot go on; it can be begun again."""


class Redriven(NamedTuple):
    """What a redrive did."""

    sent: int
    rejected: Sequence[tuple[str, str]]  # commands that were applied once and are rejected now, and why
    parked: Sequence[str]


class Redrive:
    """Sends what was lost to the database of which `first` is the first batch of notices.

    get_outcomes: the newest notice of each command that has one; up to 1,000 ids a call. read_notices, refusals: as
    `HistoryGuard` takes them. alone: sends one command a message, as this contract has it; None: in batches.
    """

    def __init__(
        self,
        first: NoticeBatch,
        get_outcomes: GetOutcomes,
        read_notices: ReadNotices,
        *,
        refusals: Refusals,
        alone: Codec | None = None,
    ) -> None:
        self._first = first
        self._get_outcomes = get_outcomes
        self._read_notices = read_notices
        self._refusals = refusals
        self._alone = alone
        # Were it restored again meanwhile, what is sent would be deferred.
        self._seen = "" if first.head == BEGINNING else first.head
        # What was parked on the way, by aggregate: the next of the same has to wait behind it.
        self._parked: dict[Key, str] = {}

    async def plan(self) -> Plan | None:
        """What there is to do; None when the database is the tracked one. Publishing pauses from here on."""
        self._row = row = await sync_to_async(tracked_history.read)()
        if row is None:
            return None
        why = await difference(row, self._first, self._read_notices, self._refusals)
        if not why:
            return None
        if not row.lost_at:
            await redrive_rows.write(lambda: tracked_history.lose(row, why))
        self._numbers, plan = await sync_to_async(redrive_rows.plan)(row, why, await self._in_common(row))
        return plan

    async def run(self, publish: Publish, progress: Callable[[int, int], None]) -> Redriven:
        """Sends what `plan` found, then has the gateways track this history and send what waits.

        publish: sends to a topic; returns once the broker has it, or raises BrokerAway. progress: called with how many
        are done, of how many. Raises RedriveError when nothing comes of it for a minute.
        """
        sent, furthest = 0, (0, self._first.head)
        rejected: list[tuple[str, str]] = []
        for start in range(0, len(self._numbers), WINDOW):
            progress(start, len(self._numbers))
            window = await sync_to_async(redrive_rows.window)(self._numbers[start : start + WINDOW])
            outcomes, count = await self._redrive(window, publish)
            sent += count
            for record in window:
                outcome = outcomes[record.command_id]
                furthest = max(furthest, (outcome.number, outcome.position))
                if record.state == State.APPLIED and outcome.kind == Notice.REJECTED:
                    rejected.append((record.command_id, outcome.message))
                if outcome.kind == Notice.PARKED:
                    self._parked[record.key] = record.command_id
            await redrive_rows.write(partial(redrive_rows.renumber, outcomes))
        progress(len(self._numbers), len(self._numbers))
        await self._track(*furthest)
        return Redriven(sent, rejected, list(self._parked.values()))

    async def skip(self) -> None:
        """Has the gateways track this history without what it has lost, and send what waits."""
        for numbers in rows.chunks(self._numbers):
            await redrive_rows.write(partial(redrive_rows.unnumber, numbers))
        await self._track(0, self._first.head)

    async def _track(self, number: int, position: str) -> None:
        database, memory, row = self._first.database, self._first.memory, self._row

        def begin() -> bool:
            begun = tracked_history.begin(database, position, memory=memory, instead_of=row, number=number)
            if begun is not None:
                rows.chain_anew()
            return begun is not None

        if not await redrive_rows.write(begin):
            raise RedriveError("another replay came first: see /readyz")

    async def _in_common(self, row: TrackedHistory) -> int:
        """The number of the last notice that both the tracked history and the one in its place have."""
        if self._first.database != row.database:
            return 0
        if row.common_position and await self._has(row.common_position):
            # Of an earlier run, before anything was sent: what is known by now need not be what always was.
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
            known = [(n.number, n.position) for key, n in outcomes.items() if window[key] == n.number]
            if known:
                return max(known)
        return 0, BEGINNING

    async def _redrive(self, window: Sequence[Record], publish: Publish) -> tuple[Mapping[str, Notice], int]:
        """The notices of all commands of the window, once each has one, and how many of them had none before."""
        outcomes = dict(await self._get_outcomes([record.command_id for record in window]))
        # What this database has as parked came to its end in the one that was lost.
        parked = {command_id: notice.number for command_id, notice in outcomes.items() if notice.kind == Notice.PARKED}
        lost = [record for record in window if record.command_id not in outcomes or record.command_id in parked]
        lost = await sync_to_async(redrive_rows.with_predecessors)(lost)
        waiting = self._chained(lost, parked)
        sent, again_at, give_up_at = len(waiting), 0.0, time.monotonic() + PATIENCE
        parked_until = time.monotonic() + PARKED_AGAIN
        away = ""
        while waiting:
            if time.monotonic() >= give_up_at:
                raise RedriveError(
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

    def _chained(self, records: Sequence[Record], parked: Mapping[str, int]) -> dict[str, Command]:
        """The messages in order, each to follow on the one before it of the same aggregate.

        A command that had no effect is sent as voided: nothing that still may come of it has one then, and what waits
        for it need not. One that had an effect and is parked here (by which notice) is tried again, as it was amended.
        """
        last = dict(self._parked)
        wall = now()
        messages: dict[str, Command] = {}
        for record in records:
            command = messages[record.command_id] = record.command
            meta = command.meta
            meta.waited_ms = record.waited_ms((wall - record.accepted_at).total_seconds())
            meta.seen = self._seen
            meta.depends_on = last.get(record.key, "")
            if record.state in (State.REJECTED, State.CANCELLED, State.DISCARDED):
                meta.ClearField("operation")
                meta.cancelled = True
            else:
                if notice := parked.get(record.command_id):
                    meta.operation.notice = notice
                    if meta.operation.kind != Operation.AMEND:
                        meta.operation.kind = Operation.RETRY
                last[record.key] = record.command_id
        return messages

    async def _send(self, commands: Sequence[Command], publish: Publish) -> None:
        """One message after the other, so that what depends on nothing comes in order too."""
        size = topics.BATCH_SIZE if self._alone is None else 1
        for start in range(0, len(commands), size):
            part = commands[start : start + size]
            alone = None if self._alone is None else self._alone.encode(part[0])
            await publish(*(alone or (topics.BATCH, CommandBatch(command=part).SerializeToString())))
