"""Recognises a database that was reset or restored: another identity, or a history without what was seen of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from cqrs.journal import tracked_history
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.models import FollowedDatabase
from cqrs.journal.tracked_history import Seen
from cqrs.transport.backoff import keep
from protocol.notice_pb2 import Notice, NoticeBatch

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


class Recognition:
    """Knows which database is followed, all gateways alike, and whether that is the one that is there.

    While it is not (`lost`), nothing is to be sent. A memory store is followed wherever it goes.

    read_notices: up to so many notices after a position. refusals: what it raises when it cannot read from there.
    away: what it raises when nobody can tell at present.
    on_change: called in the event loop when it is lost (True), and when it is found or another one followed (False).
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
        self._greeting: NoticeBatch | None = None
        self._latest: Notice | None = None
        # Of the row as it was read last; and of that which was compared with this connection, 0: none was yet.
        self._generation = 0
        self._compared = 0
        self._ask_at = 0.0
        # Whether the connection to the one that is followed was lost: what comes back may be another one.
        self._doubts = False

    @property
    def lost(self) -> str:
        """Why the database that is there is not the one that is followed, and what to do; empty: it is."""
        return self._lost

    def greet(self, batch: NoticeBatch) -> None:
        """To be called with the first batch of each connection, before its notices are told."""
        self._greeting, self._latest = batch, None
        self._compared = 0
        if batch.memory:
            self._journal.numbered = False
        self._wake.set()

    def part(self, *, ever: bool = True) -> None:
        """To be called when the connection is lost. ever: whether there will be another."""
        self._greeting = self._latest = None
        self._doubt(ever and (self._doubts or bool(self._compared)))
        self._compared = 0

    def hear(self, notices: Sequence[Notice]) -> None:
        """To be called with the notices of the connection, before they are settled; never blocks."""
        self._latest = notices[-1]
        if seen := self._seen():
            self._journal.see(seen)

    async def run(self) -> None:
        """Looks until cancelled."""
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
        """Takes note of what is recorded, and asks whether it is still so when it is time to.

        Raises JournalUnavailable, or what `read_notices` raises when nobody can tell.
        """
        row = await self._journal.followed()
        if row is not None:
            self._note(row)
        greeting = self._greeting
        now = asyncio.get_running_loop().time()
        if greeting is None or (row and self._compared == row.generation and now < self._ask_at):
            return
        why = await difference(row, greeting, self._read_notices, self._refusals) if row else "none is followed yet"
        if greeting is not self._greeting:
            return  # connected anew meanwhile
        self._ask_at = now + ASK_EVERY
        if row is not None and not why:
            await self._follow_on(row)
        elif row is None or row.memory or greeting.memory or row.position == BEGINNING:
            await self._follow(greeting, row)
        elif not row.lost_at:
            await self._journal.write(lambda: tracked_history.lose(row, why))
            self._wake.set()

    async def _follow_on(self, row: FollowedDatabase) -> None:
        """It is the one that is followed."""
        self._compared = row.generation
        self._doubt(False)
        if row.lost_at:
            await self._journal.write(lambda: tracked_history.find_again(row))
            self._wake.set()
        elif seen := self._seen():
            # What came between the greeting and now.
            await self._journal.write(lambda: tracked_history.see(seen))

    async def _follow(self, greeting: NoticeBatch, row: FollowedDatabase | None) -> None:
        """Follows the one that is there: none was followed, or nothing is lost with it."""
        begun = await self._journal.write(
            lambda: tracked_history.begin(greeting.database, greeting.head, memory=greeting.memory, instead_of=row)
        )
        if begun is not None:
            memory = ", a memory store," if begun.memory else ""
            before = f" instead of {row.database}" if row is not None else ""
            log.info("follows the database %s%s from %s on%s", begun.database, memory, begun.position, before)
        self._wake.set()

    def _seen(self) -> Seen | None:
        """What is to be recorded of what was heard, if it is of the history that is followed."""
        greeting, latest = self._greeting, self._latest
        if greeting is None or latest is None or greeting.memory or self._lost or not self._compared:
            return None
        return Seen(self._compared, latest.number, latest.position)

    def _note(self, row: FollowedDatabase) -> None:
        if row.generation != self._generation:
            self._generation, self._compared = row.generation, 0
            # Of another generation a position would have every command left.
            self._journal.seen = "" if row.memory or row.position == BEGINNING else row.position
            self._journal.numbered = not row.memory
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
        self._journal.may_replay = doubts or bool(self._lost)


# The position from which all notices are read.
BEGINNING = "0"


async def difference(
    row: FollowedDatabase, greeting: NoticeBatch, read_notices: ReadNotices, refusals: Refusals
) -> str:
    """Why the database that greets so is not the one of the row, in a sentence; empty: it is.

    Raises what `read_notices` raises when nobody can tell.
    """
    if greeting.database != row.database:
        return f"its identity is {greeting.database}, it was {row.database}: it was reset, or is another one"
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
