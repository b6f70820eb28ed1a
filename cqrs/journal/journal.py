"""The journal: accepts commands durably, and knows what became of them."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Self, TypeVar

from django.db import DatabaseError, connections
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows, tracked_history, write_check
from cqrs.journal.committer import Committer
from cqrs.journal.completions import Outcomes
from cqrs.journal.entry import Accepted, Entry
from cqrs.journal.errors import JournalFull, JournalUnavailable, NotCancellable, UnknownCommand
from cqrs.journal.models import Command as Row
from cqrs.journal.models import FollowedDatabase
from cqrs.journal.settlement import Settlement, State, handed_over, settlement_of
from cqrs.journal.tracked_history import Seen
from cqrs.transport.backoff import describe
from protocol.contact_write_pb2 import Command
from protocol.notice_pb2 import Notice

# Commands that may wait to be written.
MAX_WAITING = 10_000
# Ends that may wait to be recorded, not counting those of commands that this process knows.
MAX_HEARD = 100_000

T = TypeVar("T")


class Journal:
    """The commands of all gateways, durable before they are answered; open within `async with`.

    delay: seconds from acceptance to effect. limit: commands that may be unsettled, over all gateways.
    owner: names this process; no two that run have the same name.

    Belongs to one event loop. Two threads work for it: one writes (`Committer`), one reads.
    """

    def __init__(self, delay: float, limit: int, owner: str) -> None:
        self.owner = owner
        self.delay = delay
        # Whether those who decide would hear of a cancel; set by the publisher.
        self.cancellable = True
        # When the newest command that took effect was to do so (seconds since 1970), and when we heard of one (the
        # loop's clock).
        self.newest_due = 0.0
        self.heard_at = 0.0
        # The position of the newest notice that is recorded as seen: a database that lacks it is another one.
        self.seen = ""
        # Whether the database has lost what the journal says was applied, and may get it back.
        self.may_replay = False
        # Whether the numbers of notices are worth recording: those of a memory store end with it.
        self.numbered = True
        self._to_see: Seen | None = None
        self._outcomes = Outcomes(self._record)
        self._committer = Committer(delay, limit, owner, heard=self._outcomes, on_accepted=self._tell_accepted)
        self._waiting = 0
        self._on_accepted: Callable[[Sequence[Entry]], None] = lambda _entries: None
        self._on_cancel: Callable[[Entry], None] = lambda _entry: None
        self._to_check: list[str] = []

    async def __aenter__(self) -> Self:
        """Reads what is unsettled. Raises JournalUnavailable, for example where a migration is missing."""
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        await self._committer.start()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Commits what waits, and records the ends that were heard."""
        await self._outcomes.close()
        await self._committer.stop()
        await self._close_reading()
        self._reader.shutdown()

    def listen(self, on_accepted: Callable[[Sequence[Entry]], None], on_cancel: Callable[[Entry], None]) -> None:
        """Calls `on_accepted` with the rows of each commit of this process, `on_cancel` with each cancelled row."""
        self._on_accepted = on_accepted
        self._on_cancel = on_cancel

    def _tell_accepted(self, entries: Sequence[Entry]) -> None:
        self._on_accepted(entries)

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
        """Asks that a command be withdrawn; the database decides which comes first, and its notice tells.

        Raises UnknownCommand, NotCancellable (it has ended, or who decides would not hear of it), JournalUnavailable.
        """
        if not self.cancellable:
            raise NotCancellable("a part of this system knows only the contract, which has no cancel")
        end = self._outcomes.ended(command_id)
        if end is not None:
            raise NotCancellable(f"command {command_id} is {State(end.state).label} already")
        entry = await self._committer.call(lambda _cursor: rows.cancel(command_id, actor))
        self._on_cancel(entry)
        return entry.accepted()

    # Settling.

    def settle(self, notices: Sequence[Notice]) -> None:
        """Notes what became of commands, whichever gateway accepted them; never blocks. Told twice is told once."""
        for notice in notices:
            settlement = settlement_of(notice)
            if settlement is not None and notice.command_id:
                self._hear(notice.command_id, settlement)

    def hand_over(self, command_ids: Sequence[str]) -> None:
        """Notes that no more may be heard of these: the broker has them, and they are never sent again."""
        for command_id in command_ids:
            self._hear(command_id, handed_over())

    def _hear(self, command_id: str, settlement: Settlement) -> None:
        unsettled = self._committer.unsettled
        if len(self._outcomes) >= MAX_HEARD and command_id not in unsettled:
            return  # the journal cannot be written; if it has this command, a sweep will ask what became of it
        # Noted first, removed second: see Committer._see.
        if not self._outcomes.note(command_id, settlement) or settlement.state == State.PARKED:
            return
        due = unsettled.remove(command_id)
        # A cancelled command ends before it is due; one handed over does not tell how far the database is.
        if due is not None and settlement.state not in (State.CANCELLED, State.HANDED_OVER):
            # One that is ahead of the clock is of before the clock was set back.
            self.newest_due = due if self.newest_due > time.time() else max(self.newest_due, due)
            self.heard_at = self._loop.time()

    def see(self, seen: Seen) -> None:
        """Notes how far the history of the followed database was seen; recorded with the next ends, at most."""
        self._to_see = seen

    async def _record(self, ends: Mapping[str, Settlement]) -> None:
        seen, self._to_see = self._to_see, None
        await self._committer.call(lambda cursor: self._write_ends(cursor, ends, seen))
        if seen is not None:
            self.seen = seen.position

    def _write_ends(self, cursor: CursorWrapper, ends: Mapping[str, Settlement], seen: Seen | None) -> None:
        if not self.numbered:
            ends = {name: end if end.settled_at is None else end._replace(notice=0) for name, end in ends.items()}
        rows.settle(cursor, ends)
        if seen is not None:
            tracked_history.see(seen)

    async def reconcile(self) -> None:
        """Hears from the journal what it missed: an end that another gateway recorded while our notices were cut off.

        Looks at what someone waits for and at part of what it takes for unsettled, each time at another part.
        Raises JournalUnavailable.
        """
        self._to_check = self._to_check or self._committer.unsettled.ids()
        part, self._to_check = self._to_check[: rows.CHUNK], self._to_check[rows.CHUNK :]
        awaited = self._outcomes.listened()[: rows.CHUNK]
        for command_id, settlement in (await self._read(lambda: rows.ended([*part, *awaited]))).items():
            self._hear(command_id, settlement)

    # Asking.

    async def is_pending(self, contact_id: str) -> bool:
        """Whether a command of this contact is unsettled, at any gateway, or may have to be replayed.

        Raises JournalUnavailable.
        """
        # Before the look at what is known, so that nothing stands between the two.
        head = self._committer.head
        if self._committer.unsettled.last(contact_id):
            return True
        last = await self._read(lambda: rows.last_unsettled(contact_id, after=head))
        return self.may_replay or (last != "" and not self.is_settled(last))

    def is_settled(self, command_id: str) -> bool:
        """Whether this process has heard of the command's end and the journal may not say so yet."""
        return self._outcomes.ended(command_id) is not None

    def is_unsettled(self, command_id: str) -> bool:
        """Whether this process knows the command and has not heard of its end."""
        return command_id in self._committer.unsettled

    @property
    def unsettled(self) -> int:
        """How many commands, of all gateways, are unsettled as far as this process knows."""
        return len(self._committer.unsettled)

    async def find(self, command_id: str) -> Row | None:
        """The command as this process knows it; once settled, always settled. Raises JournalUnavailable."""
        # An end that is heard, recorded and forgotten while the row is being read still reaches the listener.
        with self._outcomes.listen(command_id) as listener:
            row = await self._read(lambda: rows.find(command_id))
            return row and self._outcomes.show(row, listener)

    async def settled(self, command_id: str, timeout: float) -> Row:
        """Waits until the command has ended or is PARKED; TimeoutError after `timeout` seconds.

        Raises UnknownCommand, JournalFull (too many wait), JournalUnavailable.
        """
        async with asyncio.timeout(timeout):
            # Registered first, read second: an end that comes in between is heard.
            with self._outcomes.listen(command_id) as listener:
                row = await self._read(lambda: rows.find(command_id))
                if row is None:
                    raise UnknownCommand(f"there is no command {command_id} in the journal")
                if row.state == State.QUEUED:
                    await listener.next
                return self._outcomes.show(row, listener)

    async def check_writable(self) -> None:
        """Returns once a row is committed by the thread that commits every command. Raises JournalUnavailable."""
        await self._committer.call(write_check.write)

    # What publisher, sweep and retention need. All raise JournalUnavailable.

    async def queued(self, after: int, limit: int, *, unsent: bool) -> list[Entry]:
        """The first QUEUED rows of this process after a number. unsent: but those that the broker has acknowledged.

        None that is committed, but not yet known here to be unsettled: listeners are still to be told of these.
        """
        head = self._committer.head
        return await self._read(lambda: rows.queued_of(self.owner, after, head, limit, unsent=unsent))

    async def due_before(self, moment: datetime, after: tuple[datetime, int] | None, limit: int) -> list[Entry]:
        """The first unsettled rows, of all gateways, due before `moment` and after that of a due time and number."""
        return await self._read(lambda: rows.due_before(moment, after, limit))

    async def cancels(self, limit: int) -> list[Entry]:
        """The first unsettled rows, of all gateways, whose cancel was asked for."""
        return await self._read(lambda: rows.cancels(limit))

    async def operations(self, limit: int) -> list[Entry]:
        """The unsettled rows, of all gateways, with an operator's decision on its way; the newest, in order."""
        return await self._read(lambda: rows.operations(limit))

    async def catch_up(self) -> None:
        """Sees the rows that others have committed so far."""
        await self._committer.catch_up()

    async def claim(self, previous: str, numbers: Sequence[int] | None = None) -> list[Entry]:
        """Makes unsent rows of the owner `previous` this process's own. No two gateways get the same row.

        previous: empty for rows that have no owner yet. numbers: only these, at most 1,000; None: the first 1,000.
        """
        return await self._committer.call(lambda _cursor: rows.claim(self.owner, previous, numbers, rows.CHUNK))

    async def mark_sent(self, command_ids: Sequence[str]) -> None:
        """Records that the broker has acknowledged these, which must not be sent twice."""
        await self._committer.call(lambda _cursor: rows.mark_sent(command_ids))

    async def prune(self, settled_before: datetime) -> int:
        """Deletes what was settled before a moment, and the idempotency keys with it; returns how many rows."""
        total = 0
        while pruned := await self._committer.call(lambda _cursor: rows.prune(settled_before)):
            total += pruned
        return total

    # What the recognition of another database needs. Both raise JournalUnavailable.

    async def followed(self) -> FollowedDatabase | None:
        """The database that is followed; None: none yet."""
        return await self._read(tracked_history.read)

    async def write(self, work: Callable[[], T]) -> T:
        """What `work` returns, once what it writes to the journal's database is committed."""
        return await self._committer.call(lambda _cursor: work())

    async def _read(self, query: Callable[[], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._reader, query)
        except DatabaseError as error:
            await self._close_reading()
            raise JournalUnavailable(f"the journal cannot be read: {describe(error)}") from error

    async def _close_reading(self) -> None:
        """A connection that failed may be of no use; the next query opens another."""
        await self._loop.run_in_executor(self._reader, lambda: connections[rows.database()].close())
