"""The journal: accepts commands durably, and knows what became of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self, TypeVar

from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows, tracked_history, write_check
from cqrs.journal.accepted import Accepted
from cqrs.journal.clock import Clock
from cqrs.journal.committer import Committer
from cqrs.journal.completions import Completions
from cqrs.journal.delivery import Deliveries, at_least_once
from cqrs.journal.errors import JournalFull, NotCancellable, UnknownCommand
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record
from cqrs.journal.row_reader import RowReader
from cqrs.journal.seen_history import SeenHistory
from cqrs.journal.settlement import Settlement, State, handed_over, settlement_of
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice

# Commands that may wait to be written.
MAX_WAITING = 10_000
# Transactions that claim what is there, in one look; what is left waits for the next.
CLAIM_TIMES = 10
# Ends that may wait to be recorded, not counting those of commands that this process knows.
MAX_KNOWN = 100_000

T = TypeVar("T")


class Journal:
    """The commands of all gateways, durable before they are answered; open within `async with`.

    delay: seconds from acceptance to effect. limit: commands that may be unsettled, over all gateways.
    owner: names this process; no two that run have the same name. delivery: how commands are delivered at present.

    Belongs to one event loop. Two threads work for it: one writes (`Committer`), one reads.
    """

    def __init__(
        self,
        delay: float,
        limit: int,
        owner: str,
        *,
        delivery: Deliveries = at_least_once,
        clock: Clock = Clock(),  # noqa: B008  # immutable
    ) -> None:
        self.owner = owner
        self.delay = delay
        self.clock = clock
        self._delivery = delivery
        # When the newest command that took effect was to do so (seconds since 1970), and when its notice came (on the
        # loop's clock).
        self.newest_due = 0.0
        self.settled_on = 0.0
        self.history = SeenHistory()
        self._completions = Completions(self._record)
        on_accepted = lambda records: self._on_accepted(records)  # noqa: E731  # `listen` may come later
        self._committer = Committer(delay, limit, owner, clock, ended=self._completions, on_accepted=on_accepted)
        self._waiting = 0
        self._on_accepted: Callable[[Sequence[Record]], None] = lambda _records: None
        self._on_cancel: Callable[[Record], None] = lambda _record: None
        self._on_settled: Callable[[str], None] = lambda _command_id: None
        self._to_check: list[str] = []

    async def __aenter__(self) -> Self:
        """Reads what is unsettled. Raises JournalUnavailable, for example where a migration is missing."""
        self._loop = asyncio.get_running_loop()
        self.settled_on = self._loop.time()
        await self._committer.start()
        self._reader = RowReader()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Commits what waits, and records the ends that are known."""
        await self._completions.close()
        await self._committer.stop()
        await self._reader.close()

    async def watch(self) -> None:
        """Returns once the journal is closed; raises the defect that its thread died of."""
        await self._committer.watch()

    def listen(
        self,
        on_accepted: Callable[[Sequence[Record]], None],
        on_cancel: Callable[[Record], None],
        on_settled: Callable[[str], None],
    ) -> None:
        """Has the relay called with the rows of each commit of this process, each cancelled row, each settled id."""
        self._on_accepted = on_accepted
        self._on_cancel = on_cancel
        self._on_settled = on_settled

    # Accepting and cancelling.

    async def accept(self, commands: Sequence[Command], *, fresh: bool = False) -> list[Accepted]:
        """Journals all of the commands or none, in one commit with what other callers bring; durable when it returns.

        A command id that is known with the same arguments gets the answer it got then.
        fresh: these ids were minted for this call, so none can be known, and that is not looked up. (Were one known all
        the same, nothing would be written, and everyone in that commit would get JournalUnavailable.)
        Raises KeyConflict (known with other arguments), JournalFull, JournalUnavailable.
        """
        if self._waiting + len(commands) > MAX_WAITING:
            raise JournalFull("too many commands wait to be journaled: try again later")
        self._waiting += len(commands)
        try:
            return await self._committer.accept(commands, fresh)
        finally:
            self._waiting -= len(commands)

    async def cancel(self, command_id: str, actor: str = "") -> Accepted:
        """Requests that a command be voided; the database decides which comes first, and its notice tells.

        Raises UnknownCommand, NotCancellable (it has ended, or a part knows no cancel), JournalUnavailable.
        """
        if not self._delivery().repeats:
            raise NotCancellable("a part of this system knows only the contract, which has no cancel")
        if (end := self._completions.ended(command_id)) is not None:
            raise NotCancellable(f"command {command_id} is {State(end.state).label} already")
        record = await self.write(lambda: rows.cancel(command_id, actor))
        self._on_cancel(record)
        return record.accepted()

    # Settling.

    def settle(self, notices: Sequence[Notice]) -> None:
        """Notes what became of commands, whichever gateway accepted them; never blocks. A notice may come twice."""
        for notice in notices:
            settlement = settlement_of(notice)
            if settlement is not None and notice.command_id:
                self._note(notice.command_id, settlement)

    def hand_over(self, command_ids: Sequence[str]) -> None:
        """Notes that no notice of these may come: the broker has them, and they are never sent again."""
        for command_id in command_ids:
            self._note(command_id, handed_over())

    def _note(self, command_id: str, settlement: Settlement) -> None:
        unsettled = self._committer.unsettled
        if len(self._completions) >= MAX_KNOWN and command_id not in unsettled:
            return  # the journal cannot be written; if it has this command, a sweep will ask what became of it
        # Noted first, removed second: see Committer._see.
        if not self._completions.note(command_id, settlement) or settlement.state == State.PARKED:
            return
        due = unsettled.remove(command_id)
        self._on_settled(command_id)
        # A cancelled command ends before it is due; one handed over does not tell how far the database is.
        if due is not None and settlement.state not in (State.CANCELLED, State.HANDED_OVER):
            # One that is ahead of the clock is of before the clock was set back.
            self.newest_due = due if self.newest_due > self.clock.wall() else max(self.newest_due, due)
            self.settled_on = self._loop.time()

    async def _record(self, ends: Mapping[str, Settlement]) -> set[str]:
        seen = self.history.take()

        def record(cursor: CursorWrapper) -> set[str]:
            if seen is not None:
                tracked_history.see(seen)
            return rows.settle(cursor, self.history.numbered(ends))

        locked = await self._committer.call(record)
        if seen is not None:
            self.history.recorded(seen)
        return locked

    async def reconcile(self) -> None:
        """Reads ends whose notices this process missed: another gateway recorded them while ours was cut off.

        Looks at what callers wait for and at part of what it takes for unsettled, each time at another part.
        Raises JournalUnavailable.
        """
        self._to_check = self._to_check or self._committer.unsettled.ids()
        part, self._to_check = self._to_check[: rows.CHUNK], self._to_check[rows.CHUNK :]
        awaited = self._completions.listened()[: rows.CHUNK]
        if not part and not awaited:
            return
        for command_id, settlement in (await self._reader.read(lambda: rows.ended([*part, *awaited]))).items():
            self._note(command_id, settlement)

    # Asking.

    async def is_pending(self, aggregate: str, aggregate_id: str) -> bool:
        """Whether a command of this aggregate is unsettled, at any gateway, or may have to be redriven.

        Raises JournalUnavailable.
        """
        # Before the look at what is known, so that nothing stands between the two.
        head = self._committer.head
        if self._committer.unsettled.last(aggregate, aggregate_id):
            return True
        others = await self._reader.read(lambda: rows.unsettled_of(aggregate, aggregate_id, head))
        return self.history.may_redrive or any(not self.is_settled(command_id) for command_id in others)

    def is_settled(self, command_id: str) -> bool:
        """Whether this process knows the command's end and the journal may not have it yet."""
        return self._completions.ended(command_id) is not None

    def is_unsettled(self, command_id: str) -> bool:
        """Whether this process knows the command and not its end."""
        return command_id in self._committer.unsettled

    @property
    def head(self) -> int:
        """Up to this number every row has been seen."""
        return self._committer.head

    @property
    def unsettled(self) -> int:
        """How many commands, of all gateways, are unsettled as far as this process knows."""
        return len(self._committer.unsettled)

    async def find(self, command_id: str) -> Row | None:
        """The command as this process knows it; once settled, always settled. Raises JournalUnavailable."""
        # An end that comes, is recorded and forgotten while the row is being read still reaches the listener.
        with self._completions.listen(command_id) as listener:
            row = await self._reader.read(lambda: rows.find(command_id))
            return row and self._completions.show(row, listener)

    async def settled(self, command_id: str, timeout: float) -> Row:
        """Waits until the command has ended or is PARKED; TimeoutError after `timeout` seconds.

        Raises UnknownCommand, JournalFull (too many wait), JournalUnavailable.
        """
        async with asyncio.timeout(timeout):
            # Registered first, read second: an end that comes in between reaches the listener.
            with self._completions.listen(command_id) as listener:
                row = await self._reader.read(lambda: rows.find(command_id))
                if row is None:
                    raise UnknownCommand(f"there is no command {command_id} in the journal")
                if row.state == State.QUEUED:
                    await listener.next
                return self._completions.show(row, listener)

    async def check_writable(self) -> None:
        """Returns once a row is committed by the thread that commits every command. Raises JournalUnavailable."""
        await self._committer.call(write_check.write)

    # What relay, sweep, retention and the history guard need. All but the first raise JournalUnavailable.

    def waited_ms(self, record: Record) -> int:
        """How much of its delay a command has waited: 0 to the delay.

        By the clock that does not jump if this process accepted it, else by the wall clocks of both hosts.
        """
        accepted_on = self._committer.unsettled.accepted_on(record.command_id)
        if accepted_on is not None:
            return record.waited_ms(self.clock.monotonic() - accepted_on)
        return record.waited_ms(self.clock.wall() - record.accepted_at.timestamp())

    async def queued(self, after: int, limit: int, *, unsent: bool) -> list[Record]:
        """The first QUEUED rows of this process after a number. unsent: but those that the broker has acknowledged.

        Without the rows that this process has committed but not yet notified `on_accepted` of.
        """
        head = self._committer.head
        return await self._reader.read(lambda: rows.queued_of(self.owner, after, head, limit, unsent=unsent))

    async def catch_up(self) -> None:
        """Takes over the rows that have no owner, and sees what others have committed, where there is any of this."""
        for _ in range(CLAIM_TIMES):
            highest, waiting = await self._reader.read(rows.levels)
            if not waiting and highest <= self._committer.head:
                return
            # Every transaction begins with both.
            await self._committer.catch_up()

    async def prune(self, settled_before: datetime) -> int:
        """Deletes what was settled before a moment, and the idempotency keys with it; returns how many rows."""
        total = 0
        while pruned := await self.write(lambda: rows.prune(settled_before)):
            total += pruned
        return total

    async def read(self, query: Callable[[], T]) -> T:
        """What `query` returns of the journal's database."""
        return await self._reader.read(query)

    async def write(self, work: Callable[[], T]) -> T:
        """What `work` returns, once what it writes to the journal's database is committed.

        No other process writes the journal meanwhile.
        """
        return await self._committer.call(lambda _cursor: work())
