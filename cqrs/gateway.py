"""Opens what a gateway is made of, in order, joins the parts, and closes them again."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from cqrs.background import Background, end_process
from cqrs.conf import Settings
from cqrs.journal.clock import Clock
from cqrs.journal.delivery import Delivery, choose
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.relay import Relay
from cqrs.journal.sweep import Sweep
from cqrs.query.client import ReadClient
from cqrs.query.errors import PositionTooOld, PositionUnknown, ReadError
from cqrs.query.feed import NoticeFeed, State
from cqrs.recovery.history_guard import HistoryGuard, Refusals
from cqrs.transport.codec import Codec
from cqrs.transport.link import Connect
from protocol import topics

log = logging.getLogger("cqrs.gateway")

# Seconds between two prunings of the journal.
PRUNE_EVERY = 3600.0

# What the reader says to a position that cannot be read on from.
REFUSALS = Refusals(unknown=PositionUnknown, too_old=PositionTooOld)


class Gateway:
    """The clients and background tasks of one gateway process, open within `async with`; belongs to one event loop.

    reader: reads aggregates, outcomes and notices. connect: makes the link to the broker. codec: how commands alone
    travel. on_crash: called once when a background task fails, which is a defect.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reader: ReadClient,
        connect: Connect,
        codec: Codec,
        clock: Clock = Clock(),  # noqa: B008  # immutable
        on_crash: Callable[[], None] = end_process,
    ) -> None:
        self._keep = timedelta(days=settings.keep_commands_days)
        self._clock = clock
        self._background = Background("gateway", on_crash)
        self._closing = contextlib.AsyncExitStack()
        # Parts of this process besides: by name, why each does not work; empty: it does.
        self.others: dict[str, Callable[[], str]] = {}
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.foreign_writer = settings.single_messages
        self.reader = reader
        self._tells_outcomes = True
        self.journal = Journal(settings.delay, settings.journal_limit, self.owner, delivery=self.delivery, clock=clock)
        self.history_guard = HistoryGuard(
            self.journal,
            self.reader.read_notices,
            refusals=REFUSALS,
            away=(ReadError,),
            on_change=self._note_database,
        )
        self.feed = NoticeFeed(
            self.reader,
            on_notices=[self.history_guard.on_notices, self.journal.settle],
            on_connected=self.history_guard.on_connect,
            on_state=self._note_notices,
        )
        self.link = connect(
            topics=[topics.HELLO], on_message=self._on_broker_message, on_connect=self._on_broker_connect
        )
        self.relay = Relay(self.journal, self.link, codec, delivery=self.delivery)
        self.sweep = Sweep(
            self.journal, self.relay, self.reader.get_outcomes, away=(ReadError,), delivery=self.delivery
        )

    def delivery(self) -> Delivery:
        """How commands are delivered at present: by what the writer is said to be, and the read side turned out to."""
        return choose(foreign_writer=self.foreign_writer, tells_outcomes=self._tells_outcomes)

    async def __aenter__(self) -> Self:
        """Raises JournalUnavailable, for example where a migration is missing."""
        async with contextlib.AsyncExitStack() as opened:
            await opened.enter_async_context(self.reader)
            await opened.enter_async_context(self.journal)
            opened.push_async_callback(self._background.end)
            for name, work in (
                ("notices", self.feed.run()),
                ("journal", self.journal.watch()),
                ("history guard", self.history_guard.run()),
                ("link", self.link.run()),
                ("relay", self.relay.run()),
                ("sweep", self.sweep.run()),
                ("pruning", self._prune()),
            ):
                self._background.start(name, work)
            self._closing = opened.pop_all()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._closing.aclose()

    def _on_broker_connect(self) -> None:
        self.relay.on_connect()

    def _on_broker_message(self, topic: str, payload: bytes) -> None:
        self.relay.on_message(topic, payload)
        self.sweep.on_message(topic, payload)

    def _note_notices(self, state: State) -> None:
        """Without notices no command is ever settled: then the broker's acknowledgement is all there is."""
        if state != "live":
            self.history_guard.on_disconnect(final=state == "missing")
        if state != "connecting":
            self._tells_outcomes = state == "live"

    def _note_database(self, lost: bool) -> None:
        """Commands sent to a database that has lost others would take effect before these."""
        if lost:
            self.relay.pause()
        else:
            self.relay.resume()
        self.sweep.begin_again()

    async def _prune(self) -> None:
        """Keeps the journal from growing for ever. Every gateway does: twice pruned is pruned."""
        while True:
            try:
                pruned = await self.journal.prune(self._clock.now() - self._keep)
            except JournalUnavailable as error:
                log.warning("cannot prune the journal: %s", error)
            else:
                log.log(logging.INFO if pruned else logging.DEBUG, "pruned %d commands from the journal", pruned)
            await asyncio.sleep(PRUNE_EVERY)
