"""The thread that writes the journal: whatever waits goes into one transaction."""

import asyncio
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError, connections
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows
from cqrs.journal.accepted import Accepted
from cqrs.journal.chain import Chain
from cqrs.journal.clock import Clock
from cqrs.journal.errors import CommandError, JournalUnavailable
from cqrs.journal.insertion import Insertion
from cqrs.journal.pending import Key, Unsettled
from cqrs.journal.record import Record
from cqrs.transport.backoff import describe
from protocol.cqrs_command_pb2 import Command

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

    ended: the commands of whose end this process knows; its notice may come before the row is seen.
    on_accepted: called in the event loop with the rows of every commit, before the answers.
    """

    def __init__(
        self,
        delay: float,
        limit: int,
        owner: str,
        clock: Clock,
        *,
        ended: Container[str],
        on_accepted: Callable[[list[Record]], None],
    ) -> None:
        self.unsettled = Unsettled()
        self._delay = delay
        self._limit = limit
        self._owner = owner
        self._clock = clock
        self._ended_here = ended
        self._on_accepted = on_accepted
        # Up to this number every row has been seen. Only the thread writes it.
        self.head = 0
        # None ends the thread.
        self._jobs: queue.SimpleQueue[_Job | None] = clock.inbox()
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
        await asyncio.wait([self._ended])

    async def watch(self) -> None:
        """Returns once the thread was stopped; raises the defect that it died of."""
        await asyncio.shield(self._ended)

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
        group: list[_Job] = []
        ending = False
        try:
            while not ending:
                group, ending = self._take()
                if group:
                    self._commit(group)
                    self._committed_at = self._clock.monotonic()
                    self._last_size = len(group)
            connections[rows.database()].close()
        except BaseException as error:  # noqa: BLE001  # `watch` raises it
            connections[rows.database()].close()
            self._loop.call_soon_threadsafe(self._die, group, error)
        else:
            self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _take(self) -> tuple[list[_Job], bool]:
        """Waits for a job and takes all that wait with it; and whether that was the end."""
        group: list[_Job] = []
        job = self._jobs.get()
        spacing = BUSY_SPACING if self._last_size >= BUSY else SPACING
        if (left := self._committed_at + spacing - self._clock.monotonic()) > 0:
            self._clock.sleep(left)
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
        claimed: list[Record] = []
        accepted: list[Record] = []
        try:
            with rows.writing() as cursor:
                answers, claimed, accepted, accepted_on = self._work(cursor, group)
        except DatabaseError as error:
            claimed, accepted = [], []
            answers = self._fail(group, describe(error))
        except Exception:
            log.exception("a defect kept the journal from being written")
            answers = self._fail(group, "a defect, see the log")
        else:
            self._recovered()
            # Before anyone can send them, so that a command is known here before its end is.
            if claimed:
                self._add(claimed, None)
            if accepted:
                self._add(accepted, accepted_on)
        self._loop.call_soon_threadsafe(self._answer, answers, claimed + accepted)

    def _work(self, cursor: CursorWrapper, group: list[_Job]) -> tuple[list[Any], list[Record], list[Record], float]:
        """The result or CommandError of each job, the rows claimed, those added, and when these were accepted."""
        highest, waiting = rows.levels()
        self._see_others(highest)
        chain = Chain(highest, self.unsettled.last)
        claimed = chain.claim(self._owner) if waiting else []
        room = self._limit - len(self.unsettled) - len(claimed)
        insertion = Insertion(cursor, self._clock, self._delay, room)
        may_be_known = [job for job in group if isinstance(job, _Accept) and not job.fresh]
        insertion.look_up(command.meta.command_id for job in may_be_known for command in job.commands)
        results: list[Any] = []
        for job in group:
            try:
                results.append(insertion.take(job.commands) if isinstance(job, _Accept) else job.work(cursor))
            except CommandError as error:
                results.append(error)
        answers = [(job.answer, result) for job, result in zip(group, results, strict=True)]
        return answers, claimed, insertion.write(self._owner, chain.add), insertion.accepted_on

    def _see_others(self, highest: int) -> None:
        # The lock is held, so no number up to this one will ever be committed later.
        if highest > self.head:
            for number, command_id, key, due in rows.unsettled_after(self.head):
                self._see([(command_id, key)], due)
                self.head = number
            self.head = highest

    def _add(self, records: list[Record], accepted_on: float | None) -> None:
        for due, group in itertools.groupby(records, lambda record: record.takes_effect_at):
            self._see([(record.command_id, record.key) for record in group], due, accepted_on)
        self.head = records[-1].number

    def _see(self, commands: Sequence[tuple[str, Key]], due: datetime, accepted_on: float | None = None) -> None:
        self.unsettled.add(commands, due.timestamp(), accepted_on)
        # Added first, looked up second: the loop notes an end first and removes second.
        # So whichever comes first, it is removed.
        for command_id, _ in commands:
            if command_id in self._ended_here:
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

    def _die(self, group: list[_Job], error: BaseException) -> None:
        """No caller may wait for a thread that is dead."""
        self._stopped = True
        while not self._jobs.empty():
            if (job := self._jobs.get_nowait()) is not None:
                group.append(job)
        for job in group:
            if not job.answer.done():
                job.answer.set_exception(JournalUnavailable("the journal cannot be written: its thread has died"))
        self._ended.set_exception(error)

    def _answer(self, answers: list[tuple[asyncio.Future[Any], Any]], accepted: list[Record]) -> None:
        if accepted:
            self._on_accepted(accepted)
        for answer, result in answers:
            if answer.done():
                continue  # the caller was cancelled
            if isinstance(result, CommandError):
                answer.set_exception(result)
            else:
                answer.set_result(result)
