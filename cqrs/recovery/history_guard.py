"""Notices that a database was reset or restored: another identity, or a history without what was seen of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from cqrs.journal import tracked_history
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.models import TrackedHistory
from cqrs.journal.tracked_history import Seen
from cqrs.transport.backoff import keep
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch

log = logging.getLogger("cqrs.recovery.history_guard")

# Seconds between two looks at what other gateways and operators have recorded.
LOOK_EVERY = 1.0
# Seconds between two questions whether the history is still the one that was seen; besides, at each connection.
ASK_EVERY = 5.0

ADVICE = (
    "commands are accepted and wait; put the right database back, or run manage.py replaycommands, which replays"
    " what the journal holds (--dry-run tells how much; --none goes on without)"
)

ReadNotices = Callable[[str, int], Awaitable[NoticeBatch]]


class Refusals(NamedTuple):
    """What reading notices from a position raises: it is of another history; what follows it is not kept any more."""

    unknown: type[Exception]
    too_old: type[Exception]


class HistoryGuard:
    """Knows whose history is tracked, all gateways alike, and whether the database that is there has it.

    While it is not (`lost`), nothing is to be sent. Of a memory store any history will do.

    read_notices: up to so many notices after a position. refusals: what it raises when it cannot read from there.
    away: what it raises while the read side cannot tell.
    on_change: called in the event loop when it is lost (True), and when it is found or another one tracked (False).
    """

    def __init__(
        self,
        journal: Journal,
        read_notices: ReadNotices,
        *,
        refusals: Refusals,
        away: tuple[type[Exception], ...],
        on_change: Callable[[bool], None],
    ) -> None:
        self._journal = journal
        self._read_notices = read_notices
        self._refusals = refusals
        self._away = away
        self._on_change = on_change
        self._lost = ""
        self._wake = asyncio.Event()
        # The first batch of the connection; None: there is no connection.
        self._first: NoticeBatch | None = None
        self._latest: Notice | None = None
        # Of the row as it was read last; and of that which was compared with this connection, 0: none was yet.
        self._generation = 0
        self._compared = 0
        self._ask_at = 0.0
        # Whether the connection to the tracked one was lost: another database may come back.
        self._doubts = False

    @property
    def lost(self) -> str:
        """Why the database that is there is not the tracked one, and what to do; empty: it is."""
        return self._lost

    def on_connect(self, batch: NoticeBatch) -> None:
        """To be called with the first batch of each connection, before its notices."""
        self._first, self._latest = batch, None
        self._compared = 0
        if batch.memory:
            self._journal.history.count_numbers(False)
        self._wake.set()

    def on_disconnect(self, *, final: bool = False) -> None:
        """To be called when the connection is lost. final: no other will come."""
        self._first = self._latest = None
        self._doubt(not final and (self._doubts or bool(self._compared)))
        self._compared = 0

    def on_notices(self, notices: Sequence[Notice]) -> None:
        """To be called with the notices of the connection, before they are settled; never blocks."""
        self._latest = notices[-1]
        if seen := self._seen():
            self._journal.history.see(seen)

    async def run(self) -> None:
        """Guards until cancelled."""
        what = "the history of the database to be looked at"
        await keep(self._session, what=what, errors=(JournalUnavailable, *self._away))

    async def _session(self, connected: Callable[[], None]) -> None:
        while True:
            self._wake.clear()
            await self.look()
            connected()
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Takes note of what is recorded, and checks it against the database when it is time to.

        Raises JournalUnavailable, or what `read_notices` raises while the read side cannot tell.
        """
        row = await self._journal.read(tracked_history.read)
        if row is not None:
            self._note(row)
        first = self._first
        now = asyncio.get_running_loop().time()
        if first is None or (row and self._compared == row.generation and now < self._ask_at):
            return
        why = await difference(row, first, self._read_notices, self._refusals) if row else "none is tracked yet"
        if first is not self._first:
            return  # connected anew meanwhile
        self._ask_at = now + ASK_EVERY
        if row is not None and not why:
            await self._go_on(row)
        elif row is None or row.memory or first.memory or row.position == BEGINNING:
            await self._track(first, row)
        elif not row.lost_at:
            await self._journal.write(lambda: tracked_history.lose(row, why))
            self._wake.set()

    async def _go_on(self, row: TrackedHistory) -> None:
        """It is the tracked one."""
        self._compared = row.generation
        self._doubt(False)
        if row.lost_at:
            await self._journal.write(lambda: tracked_history.find_again(row))
            self._wake.set()
        elif seen := self._seen():
            # Notices that came between the first batch and now.
            await self._journal.write(lambda: tracked_history.see(seen))

    async def _track(self, first: NoticeBatch, row: TrackedHistory | None) -> None:
        """Tracks the one that is there: none was tracked, or nothing is lost with it."""
        begun = await self._journal.write(
            lambda: tracked_history.begin(first.database, first.head, memory=first.memory, instead_of=row)
        )
        if begun is not None:
            memory = ", a memory store," if begun.memory else ""
            before = f" instead of {row.database}" if row is not None else ""
            log.info("follows the database %s%s from %s on%s", begun.database, memory, begun.position, before)
        self._wake.set()

    def _seen(self) -> Seen | None:
        """What is to be recorded of the notices that came, if they are of the tracked history."""
        first, latest = self._first, self._latest
        if first is None or latest is None or first.memory or self._lost or not self._compared:
            return None
        return Seen(self._compared, latest.number, latest.position)

    def _note(self, row: TrackedHistory) -> None:
        if row.generation != self._generation:
            self._generation, self._compared = row.generation, 0
            # Of another generation a position would have every command deferred.
            self._journal.history.track("" if row.memory or row.position == BEGINNING else row.position)
            self._journal.history.count_numbers(not row.memory)
        lost = f"{row.lost_why}; {ADVICE}" if row.lost_at else ""
        if bool(lost) != bool(self._lost):
            if lost:
                log.error("the database is not the one that was followed: %s", lost)
            else:
                log.info("follows the database %s again: what waits is sent", row.database)
            self._on_change(bool(lost))
        self._lost = lost
        self._doubt(self._doubts)

    def _doubt(self, doubts: bool) -> None:
        self._doubts = doubts
        self._journal.history.expect_redrive(doubts or bool(self._lost))


# The position from which all notices are read.
BEGINNING = "0"


async def difference(row: TrackedHistory, first: NoticeBatch, read_notices: ReadNotices, refusals: Refusals) -> str:
    """Why the database of this first batch is not the one of the row, in a sentence; empty: it is.

    Raises what `read_notices` raises while the read side cannot tell.
    """
    if first.database != row.database:
        return f"its identity is {first.database}, it was {row.database}: it was reset, or is another one"
    try:
        batch = await read_notices(row.position, 1)
    except refusals.unknown:
        return (
            f"its history ends before the notice {row.number} that was seen, or is another one from there:"
            " it was restored from a backup"
        )
    except refusals.too_old:
        return ""
    return "" if batch.database == row.database else f"its identity is {batch.database}, it was {row.database}"
