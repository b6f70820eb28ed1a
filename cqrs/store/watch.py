"""Watchers of notices: those at the end of the history are served from one memory, others from the database."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from itertools import islice

from cqrs.engines import Lock, engine_of
from cqrs.store import notices
from cqrs.store.database import ALIAS
from cqrs.store.errors import DatabaseAway, TooManyWatchers
from cqrs.store.positions import number_of
from cqrs.store.threads import DatabaseThreads
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch

MOST_WATCHERS = 200
BATCH = 500

# Notices remembered for watchers that are a little behind, and bytes of their states at most.
_REMEMBERED = 5000
_REMEMBERED_STATES = 32 * 1024 * 1024
# Seconds between two reads of what other processes commit, at least: where all comes from there, and where commands are
# applied in this process too, so that others mostly have none. A read costs 0.5 ms.
OFTEN = 0.025
SELDOM = 0.1


class NoticeWatch:
    """The end of the history in memory, while someone watches.

    Kept up by what this process commits (`push`), and by reading what others commit: when the database notes a change
    (every `ask_every` seconds at most), and at once when what is pushed shows a gap.
    """

    def __init__(self, threads: DatabaseThreads, *, memory: bool, ask_every: float = OFTEN) -> None:
        self._threads = threads
        self._memory = memory
        self._ask_every = ask_every
        self._behind = asyncio.Event()
        self._watchers = 0
        self._is_watched = asyncio.Event()
        self._stopped = False
        # The newest notices, without gaps up to the number `_end`; None: not known, nobody watches.
        self._newest: deque[Notice] = deque()
        self._newest_states = 0
        self._end: int | None = None
        self._database = ""
        self._news = asyncio.Event()
        self._shared: tuple[int, int, NoticeBatch] | None = None

    async def run(self) -> None:
        """Keeps the end of the history in memory while someone watches, until cancelled."""
        while True:
            await self._is_watched.wait()
            await self._follow()
            self._forget()

    def push(self, committed: Sequence[Notice]) -> None:
        """Takes in notices that were committed just now."""
        if self._end is None or not committed:
            return
        fresh = [notice for notice in committed if notice.number > self._end]
        if not fresh:
            return
        if fresh[0].number != self._end + 1:
            # Behind a gap, which another process filled: they are found by asking.
            self._behind.set()
        else:
            self._remember(fresh)
            self._end = fresh[-1].number
            self._notify()

    def stop(self) -> None:
        """Ends all watching."""
        self._stopped = True
        self._notify()

    async def watch(self, after: str) -> AsyncGenerator[NoticeBatch, None]:
        """Batches of notices after a position ("": from now on); the first at once, even if empty. Ends on `stop`.

        Raises TooManyWatchers, DatabaseAway and the errors of positions.
        """
        if self._watchers >= MOST_WATCHERS:
            raise TooManyWatchers
        self._watchers += 1
        try:
            self._is_watched.set()
            batch = await self._threads.read(notices.after, after, BATCH)
            while not self._stopped:
                yield self._marked(batch)
                seen = batch.notice[-1].number if batch.notice else number_of(batch.head)
                batch = await self._next(seen)
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._is_watched.clear()
                self._behind.set()

    async def _next(self, seen: int) -> NoticeBatch:
        """The notices after the number `seen`, once there are any; an empty batch when stopped."""
        while not self._stopped:
            news = self._news
            if self._end is None or self._end <= seen:
                await news.wait()
            elif self._newest and self._newest[0].number <= seen + 1:
                return self._remembered(seen, self._end)
            else:
                return await self._threads.read(notices.since, seen, BATCH)
        return NoticeBatch()

    def _remember(self, fresh: Sequence[Notice]) -> None:
        self._newest.extend(fresh)
        self._newest_states += sum(len(notice.state) for notice in fresh)
        while len(self._newest) > _REMEMBERED or self._newest_states > _REMEMBERED_STATES:
            self._newest_states -= len(self._newest.popleft().state)

    def _remembered(self, seen: int, end: int) -> NoticeBatch:
        # All watchers at the end ask for the same.
        if self._shared is None or self._shared[:2] != (seen, end):
            start = seen + 1 - self._newest[0].number
            batch = NoticeBatch(
                notice=notices.fitting(islice(self._newest, start, start + BATCH)),
                head=self._newest[-1].position,
                database=self._database,
            )
            self._shared = (seen, end, batch)
        return self._shared[2]

    def _marked(self, batch: NoticeBatch) -> NoticeBatch:
        batch.memory = self._memory
        return batch

    async def _follow(self) -> None:
        """Reads the notices that other processes commit, while someone watches."""
        async with asyncio.TaskGroup() as group:
            changes = group.create_task(self._note_changes(), name="note changes")
            await self._read_changes()
            changes.cancel()

    async def _note_changes(self) -> None:
        async with contextlib.aclosing(engine_of(ALIAS).changes(Lock.STORE, self._ask_every)) as changes:
            async for _ in changes:
                self._behind.set()

    async def _read_changes(self) -> None:
        while self._watchers:
            try:
                if self._end is None:
                    head = await self._threads.read(notices.head)
                    self._database, self._end = head.database, head.number
                    self._notify()
                batch = await self._threads.read(notices.since, self._end, BATCH)
            except DatabaseAway:
                await asyncio.sleep(1)
                continue
            self.push(batch.notice)
            if len(batch.notice) < BATCH:
                await self._behind.wait()
                self._behind.clear()

    def _notify(self) -> None:
        """Wakes all that wait for news."""
        self._news.set()
        self._news = asyncio.Event()

    def _forget(self) -> None:
        self._end = None
        self._newest.clear()
        self._newest_states = 0
        self._shared = None
