"""The thread that writes the journal: whatever waits goes into one transaction."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError, connections
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows
from cqrs.journal.acceptance import Acceptance
from cqrs.journal.commands import meta_of
from cqrs.journal.entry import Accepted, Entry
from cqrs.journal.errors import CommandError, JournalUnavailable
from cqrs.journal.pending import Unsettled
from cqrs.transport.backoff import describe
from protocol.contact_write_pb2 import Command

log = logging.getLogger("cqrs.journal.journal")

# Seconds between two commits, at least: what comes meanwhile shares the next. The first after a pause does not wait.
SPACING = 0.002
# The same after a commit of so many jobs: the more come, the more the event loop has to do beside.
BUSY = 16
BUSY_SPACING = 0.0035
# Jobs in one transaction, during which no other process writes.
MAX_GROUP = 2000

T = TypeVar("T")


class _Accept(NamedTuple):
    commands: Sequence[Command]
    fresh: bool
    answer: asyncio.Future[list[Accepted]]


class _Call(NamedTuple):
    work: Callable[[CursorWrapper], Any]
    answer: asyncio.Future[Any]


_Job = _Accept | _Call


class Committer:
    """Commits jobs in the order they come, many at once, and answers each in the event loop once it is committed.

    heard: the commands whose end this process has heard of; it may hear of it before it sees the row.
    on_accepted: called in the event loop with the rows of every commit, before the answers.
    """

    def __init__(
        self,
        delay: float,
        limit: int,
        owner: str,
        *,
        heard: Container[str],
        on_accepted: Callable[[list[Entry]], None],
    ) -> None:
        self.unsettled = Unsettled()
        self._delay = delay
        self._limit = limit
        self._owner = owner
        self._heard = heard
        self._on_accepted = on_accepted
        # Up to this number every row has been seen. Only the thread writes it.
        self.head = 0
        # None ends the thread.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._committed_at = 0.0
        self._last_size = 0
        self._stopped = False
        self._failing = False

    async def start(self) -> None:
        """Starts the thread, which reads what is unsettled. Raises JournalUnavailable."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._run, name="journal", daemon=True).start()
        try:
            await self.catch_up()
        except JournalUnavailable:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Commits what waits and ends the thread."""
        self._stopped = True
        self._jobs.put(None)
        await self._ended

    def accept(self, commands: Sequence[Command], fresh: bool) -> asyncio.Future[list[Accepted]]:
        """Accepts all or, raising KeyConflict, JournalFull or JournalUnavailable, none. fresh: no id can be known."""
        answer: asyncio.Future[list[Accepted]] = self._loop.create_future()
        self._put(_Accept(commands, fresh, answer))
        return answer

    async def call(self, work: Callable[[CursorWrapper], T]) -> T:
        """What `work` returns or raises (a CommandError), once it is committed. Raises JournalUnavailable."""
        answer: asyncio.Future[T] = self._loop.create_future()
        self._put(_Call(work, answer))
        return await answer

    def _put(self, job: _Job) -> None:
        if self._stopped:
            raise JournalUnavailable("the journal is closed")
        self._jobs.put(job)

    async def catch_up(self) -> None:
        """Sees the rows that other processes have committed so far."""
        # Every transaction begins with that.
        await self.call(lambda _cursor: None)

    # What follows runs in the thread.

    def _run(self) -> None:
        ending = False
        while not ending:
            group, ending = self._take()
            if group:
                self._commit(group)
                self._committed_at = time.monotonic()
                self._last_size = len(group)
        connections[rows.database()].close()
        self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _take(self) -> tuple[list[_Job], bool]:
        """Waits for a job and takes all that wait with it; and whether that was the end."""
        group: list[_Job] = []
        job = self._jobs.get()
        spacing = BUSY_SPACING if self._last_size >= BUSY else SPACING
        if (left := self._committed_at + spacing - time.monotonic()) > 0:
            time.sleep(left)
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Job]) -> None:
        accepted: list[Entry] = []
        try:
            with rows.writing() as cursor:
                answers, accepted = self._work(cursor, group)
        except DatabaseError as error:
            answers = self._fail(group, describe(error))
        except Exception:
            log.exception("a defect kept the journal from being written")
            answers = self._fail(group, "a defect, see the log")
        else:
            self._recovered()
            # Before anyone can send them, so that the end of one is heard only after it is known here.
            if accepted:
                self._add(accepted)
        self._loop.call_soon_threadsafe(self._answer, answers, accepted)

    def _work(self, cursor: CursorWrapper, group: list[_Job]) -> tuple[list[Any], list[Entry]]:
        """The result or CommandError of each job, and the rows to be committed."""
        self._see_others(cursor)
        room = self._limit - len(self.unsettled)
        acceptance = Acceptance(cursor, self._delay, self._owner, room, self.unsettled.last)
        may_be_known = [job for job in group if isinstance(job, _Accept) and not job.fresh]
        acceptance.look_up(meta_of(command).command_id for job in may_be_known for command in job.commands)
        results: list[Any] = []
        for job in group:
            try:
                results.append(acceptance.take(job.commands) if isinstance(job, _Accept) else job.work(cursor))
            except CommandError as error:
                results.append(error)
        answers = [(job.answer, result) for job, result in zip(group, results, strict=True)]
        return answers, acceptance.write()

    def _see_others(self, cursor: CursorWrapper) -> None:
        # The lock is held, so nothing will ever be committed before what is read here.
        highest = rows.highest_number(cursor)
        if highest > self.head:
            for number, command_id, contact_id, due in rows.unsettled_after(self.head):
                self._see([(command_id, contact_id)], due)
                self.head = number
            self.head = highest

    def _add(self, accepted: list[Entry]) -> None:
        # All that was accepted in one transaction takes effect at one time.
        self._see([(entry.command_id, entry.contact_id) for entry in accepted], accepted[0].takes_effect_at)
        self.head = accepted[-1].number

    def _see(self, commands: Sequence[tuple[str, str]], due: datetime) -> None:
        self.unsettled.add(commands, due.timestamp())
        # Added first, looked up second: the loop notes first that it heard of the end and removes second.
        # So whichever comes first, it is removed.
        for command_id, _ in commands:
            if command_id in self._heard:
                self.unsettled.remove(command_id)

    def _fail(self, group: list[_Job], reason: str) -> list[Any]:
        if not self._failing:
            log.error("the journal cannot be written: %s", reason)
            self._failing = True
        # A connection that failed may be of no use; the next transaction opens another.
        connections[rows.database()].close()
        return [(job.answer, JournalUnavailable(f"the journal cannot be written: {reason}")) for job in group]

    def _recovered(self) -> None:
        if self._failing:
            log.info("the journal is written again")
            self._failing = False

    # And this in the event loop again.

    def _answer(self, answers: list[tuple[asyncio.Future[Any], Any]], accepted: list[Entry]) -> None:
        if accepted:
            self._on_accepted(accepted)
        for answer, result in answers:
            if answer.done():
                continue  # who asked has gone
            if isinstance(result, CommandError):
                answer.set_exception(result)
            else:
                answer.set_result(result)
