"""The notices of the database, received once a process and passed to any number of subscribers."""

import asyncio
import contextlib
import copy
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, TypeAlias

from cqrs.query.client import ReadClient
from cqrs.query.errors import (
    ExtensionMissing,
    PositionRefused,
    PositionTooOld,
    PositionUnknown,
    ReadError,
    SubscriberTooSlow,
)
from cqrs.query.history import History
from cqrs.transport.backoff import keep
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch

log = logging.getLogger("cqrs.query.feed")

State: TypeAlias = Literal["connecting", "live", "missing"]

# Missed notices that a subscriber reads at once.
PAGE = 500
# A peer that knows only the contract is asked again after so many seconds: it may be replaced.
ASK_AGAIN = 3.0


def _ignore(_news: str) -> None: ...


class NoticeFeed:
    """Watches the notices of `reader` while `run` runs: in order, none twice, none left out, over any reconnect.

    keep: how many of the last notices stay in memory, for subscribers that come back or fall behind.
    on_notices: called with each batch before any subscriber gets it; must not block.
    on_connected: called with the first batch of each connection: the database's identity and the newest position.
    on_state: called with each new state: "connecting", "live", "missing" (the peer knows only the contract).
    on_history_lost: called with the reason when the feed cannot be continued where it was.
    """

    def __init__(
        self,
        reader: ReadClient,
        *,
        keep: int = 10_000,
        on_notices: Sequence[Callable[[Sequence[Notice]], None]] = (),
        on_connected: Callable[[NoticeBatch], None] = lambda _batch: None,
        on_state: Callable[[State], None] = _ignore,
        on_history_lost: Callable[[str], None] = _ignore,
    ) -> None:
        self._reader = reader
        self._on_notices = list(on_notices)
        self._on_connected = on_connected
        self._on_state = on_state
        self._on_history_lost = on_history_lost
        self._state: State = "connecting"
        # Received live, and read by subscribers that missed more than that.
        self._recent = History(keep)
        self._past = History(keep)
        self._reads_past = asyncio.Lock()
        # Of the last notice received; before the first one, of the newest there was. None: nothing received yet.
        self._position: str | None = None
        self._number: int | None = None
        self._database = ""
        self._is_memory = False
        # How many histories have ended, and why the last one did.
        self._lost = 0
        self._why_lost: PositionRefused = PositionUnknown()
        # Set and replaced whenever something changes: one wakeup for any number of subscribers.
        self._changed = asyncio.Event()

    @property
    def state(self) -> State:
        """Whether notices are received."""
        return self._state

    @property
    def head(self) -> str:
        """The position of the last notice received; "" before the first connection."""
        return self._position or ""

    async def run(self) -> None:
        """Receives notices until it is cancelled."""
        await keep(self._session, what=f"the notices of the reader at {self._reader.address}", errors=(ReadError,))

    def subscribe(self, after: str | None = None) -> AsyncGenerator[Notice]:
        """Every notice after a position, then each as it is committed; by default those from now on.

        Waits while the reader is away. Raises PositionRefused for a position that cannot be read on from, also when
        the history ends under way; ExtensionMissing when the peer knows only the contract; SubscriberTooSlow when
        a subscriber that was up to date falls behind by more than `keep` notices; ReaderUnavailable when missed
        notices cannot be read.
        """
        return self._follow(self._position if after is None else after, self._lost)

    # --- Subscribing

    async def _follow(self, position: str | None, lost: int) -> AsyncGenerator[Notice]:
        is_live = False
        while True:
            # Before looking: a change meanwhile is not slept through.
            changed = self._changed
            if self._lost != lost and position is not None:
                raise copy.copy(self._why_lost)
            if self._state == "missing":
                raise ExtensionMissing(f"the reader at {self._reader.address}, or its database, has no notices")
            if position is None:
                position, lost = self._position, self._lost
            if position is None or position == self._position:
                is_live = position is not None
                await changed.wait()
            elif (notice := self._recent.following(position)) is not None:
                yield notice
                position = notice.position
            elif is_live:
                raise SubscriberTooSlow(SubscriberTooSlow.__doc__)
            elif self._state != "live":
                await changed.wait()
            elif page := await self._missed(position):
                for notice in page:
                    yield notice
                position = page[-1].position
            else:
                # Nothing follows the position, and it is not the last one received: its notice will be received soon.
                await changed.wait()

    async def _missed(self, position: str) -> Sequence[Notice]:
        """A page of notices after a position; one at a time, so that a thousand subscribers read the same page once."""
        async with self._reads_past:
            if page := self._past.page(position, PAGE):
                return page
            lost = self._lost
            batch = await self._reader.read_notices(position, PAGE)
            if self._lost == lost:
                for notice in batch.notice:
                    self._past.add(position, notice)
                    position = notice.position
            return batch.notice

    # --- Receiving

    async def _session(self, connected: Callable[[], None]) -> None:
        """Watches until the reader goes away."""
        try:
            while True:
                try:
                    await self._watch(connected)
                    return
                except PositionRefused as error:
                    if self._position is None:
                        raise
                    self._lose(error)
                except ExtensionMissing as error:
                    if self._state != "missing":
                        log.warning("%s: no notices, and no outcomes of commands", error)
                    self._become("missing")
                    await asyncio.sleep(ASK_AGAIN)
        finally:
            self._become("connecting")

    async def _watch(self, connected: Callable[[], None]) -> None:
        async with contextlib.aclosing(self._reader.watch_notices(self.head)) as batches:
            async for batch in batches:
                if self._state != "live":
                    self._check_database(batch)
                    connected()
                self._take(batch)
                self._become("live")

    def _check_database(self, batch: NoticeBatch) -> None:
        """Notes the database of the notices. Raises PositionUnknown when they are of another database."""
        if self._database and batch.database != self._database:
            raise PositionUnknown(f"the database is {batch.database} now, it was {self._database}")
        self._database, self._is_memory = batch.database, batch.memory
        self._on_connected(batch)

    def _take(self, batch: NoticeBatch) -> None:
        """Remembers new notices and passes them on. Raises ReadError at a gap, so that it is read again."""
        fresh: list[Notice] = []
        number = self._number
        for notice in batch.notice:
            if number is not None and notice.number > number + 1:
                raise ReadError(f"notice {notice.number} came after notice {number}")
            if number is None or notice.number == number + 1:
                fresh.append(notice)
                number = notice.number
        if self._position is None and not fresh:
            self._position = batch.head or None
        for notice in fresh:
            if self._position is not None:
                self._recent.add(self._position, notice)
            self._position, self._number = notice.position, notice.number
        if fresh:
            for on_notices in self._on_notices:
                on_notices(fresh)
        self._wake()

    def _lose(self, error: PositionRefused) -> None:
        """Ends the history and all subscriptions to it; the next watch begins with the notices from then on."""
        # A memory store ends with its process: nothing that anyone had promised to keep.
        level = logging.INFO if self._is_memory else logging.ERROR
        log.log(level, "the notices of the reader at %s cannot be continued: %s", self._reader.address, error)
        # Where the history is the same and only a part of it was missed, the error says so (PositionTooOld).
        self._why_lost = error if isinstance(error, PositionTooOld) else PositionUnknown(str(error))
        self._lost += 1
        self._position = self._number = None
        self._database = ""
        self._recent.clear()
        self._past.clear()
        self._on_history_lost(str(error))
        self._become("connecting")
        self._wake()

    def _become(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._on_state(state)
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
