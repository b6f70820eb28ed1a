"""Who watches the notices: any number at the end of the history is served from one memory, others from the database."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from itertools import islice

from cqrs.engines import Lock, engine_of
from cqrs.store import notices
from cqrs.store.database import ALIAS
from cqrs.store.errors import DatabaseAway, TooManyWatchers
from cqrs.store.positions import number_of
from cqrs.store.threads import DatabaseThreads
from protocol.notice_pb2 import Notice, NoticeBatch

log = logging.getLogger("cqrs.store.watch")

MOST_WATCHERS = 200
BATCH = 500

# Notices remembered for those who are a little behind.
_REMEMBERED = 5000
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
        self._stopped = False
        self._follower: asyncio.Task[None] | None = None
        # The newest notices, without gaps up to the number `_end`; None: not known, nobody watches.
        self._newest: deque[Notice] = deque(maxlen=_REMEMBERED)
        self._end: int | None = None
        self._database = ""
        self._news = asyncio.Event()
        self._shared: tuple[int, int, NoticeBatch] | None = None

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
            self._newest.extend(fresh)
            self._end = fresh[-1].number
            self._tell()

    def stop(self) -> None:
        """Ends all watching."""
        self._stopped = True
        self._tell()

    async def watch(self, after: str) -> AsyncGenerator[NoticeBatch, None]:
        """Batches of notices after a position ("": from now on); the first at once, even if empty. Ends on `stop`.

        Raises TooManyWatchers, DatabaseAway and the errors of positions.
        """
        if self._watchers >= MOST_WATCHERS:
            raise TooManyWatchers
        self._watchers += 1
        try:
            if self._follower is None:
                self._follower = asyncio.create_task(self._follow(), name="follow notices")
                self._follower.add_done_callback(self._followed)
            batch = await self._threads.read(notices.after, after, BATCH)
            while not self._stopped:
                yield self._marked(batch)
                seen = batch.notice[-1].number if batch.notice else number_of(batch.head)
                batch = await self._next(seen)
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._end_following()

    async def _next(self, seen: int) -> NoticeBatch:
        """The notices after the number `seen`, once there are any; an empty batch when stopped."""
        while not self._stopped:
            news = self._news
            if self._follower is None:
                raise DatabaseAway("the notices cannot be followed any more, the log says why")
            if self._end is None or self._end <= seen:
                await news.wait()
            elif self._newest and self._newest[0].number <= seen + 1:
                return self._remembered(seen, self._end)
            else:
                return await self._threads.read(notices.since, seen, BATCH)
        return NoticeBatch()

    def _remembered(self, seen: int, end: int) -> NoticeBatch:
        # All who are at the end ask for the same.
        if self._shared is None or self._shared[:2] != (seen, end):
            start = seen + 1 - self._newest[0].number
            batch = NoticeBatch(
                notice=islice(self._newest, start, start + BATCH),
                head=self._newest[-1].position,
                database=self._database,
            )
            self._shared = (seen, end, batch)
        return self._shared[2]

    def _marked(self, batch: NoticeBatch) -> NoticeBatch:
        batch.memory = self._memory
        return batch

    async def _follow(self) -> None:
        """Reads what others commit."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._note_changes(), name="note changes")
            await self._read_changes()

    async def _note_changes(self) -> None:
        async with contextlib.aclosing(engine_of(ALIAS).changes(Lock.STORE, self._ask_every)) as changes:
            async for _ in changes:
                self._behind.set()

    async def _read_changes(self) -> None:
        while True:
            try:
                if self._end is None:
                    head = await self._threads.read(notices.head)
                    self._database, self._end = head.database, head.number
                    self._tell()
                batch = await self._threads.read(notices.since, self._end, BATCH)
            except DatabaseAway:
                await asyncio.sleep(1)
                continue
            self.push(batch.notice)
            if len(batch.notice) < BATCH:
                await self._behind.wait()
                self._behind.clear()

    def _tell(self) -> None:
        """Wakes all who wait for news."""
        self._news.set()
        self._news = asyncio.Event()

    def _end_following(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            self._forget()

    def _followed(self, follower: asyncio.Task[None]) -> None:
        """A follower ends by being cancelled; any other end is a defect, which those who watch have to be told."""
        if not follower.cancelled():
            log.error("notices are not followed any more", exc_info=follower.exception())
            self._forget()
            self._tell()

    def _forget(self) -> None:
        self._follower = None
        self._end = None
        self._newest.clear()
        self._shared = None
