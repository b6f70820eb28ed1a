"""Opens what the gateway is made of, in order, joins the parts, and closes them again."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Self

from asgiref.sync import sync_to_async
from django.apps import apps

from cqrs import conf
from cqrs.engines import engine_of
from cqrs.journal.delivery import Delivery, choose
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.relay import Relay
from cqrs.journal.sweep import Sweep
from cqrs.query.batch_reader import SingleReads
from cqrs.query.client import ReadClient
from cqrs.query.errors import PositionTooOld, PositionUnknown, ReadError
from cqrs.query.feed import NoticeFeed, State
from cqrs.recovery.history_guard import HistoryGuard, Refusals
from cqrs.transport.codec import Codec, NoContract
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import tune_collector
from protocol import topics

log = logging.getLogger("cqrssite.wiring")


# Seconds between two prunings of the journal.
PRUNE_EVERY = 3600.0

# What the reader says to a position that cannot be read on from.
REFUSALS = Refusals(unknown=PositionUnknown, too_old=PositionTooOld)


class GatewayNotOpen(Exception):
    """The gateway is starting or stopping."""


_open: "Gateway | None" = None


def current() -> "Gateway":
    """The gateway of this process; raises GatewayNotOpen before it is opened and after it is closed."""
    if _open is None:
        raise GatewayNotOpen(GatewayNotOpen.__doc__)
    return _open


def codec() -> Codec:
    """How commands alone travel: as the Go example's messages, where contacts are installed."""
    if not apps.is_installed("contacts_write"):
        return NoContract()
    from contacts_write.go_contract import GoTopics

    return GoTopics()


def fallback() -> SingleReads | None:
    """How a peer is read that knows nothing but the Go example's contract, where contacts are installed."""
    if not apps.is_installed("contacts_read"):
        return None
    from contacts_read.go_contract import ContractReads

    return ContractReads()


def gateway() -> "Gateway":
    """The gateway of this process, by the project's settings."""
    return Gateway(conf.current(), codec=codec(), fallback=fallback())


def check_migrated() -> None:
    """Raises StartError when the gateway's database lacks a migration, or is none that the journal can be in."""
    engine_of(conf.current().journal).check("gateway's")


def end_process() -> None:
    """Ends this process as a supervisor would: it drains first."""
    os.kill(os.getpid(), signal.SIGTERM)


class Gateway:
    """The clients and background tasks of one gateway process, open within `async with`; belongs to one event loop.

    on_crash: called once when a background task fails, which is a defect; by default the process ends,
    since a gateway without that task would look alive and settle or send nothing.
    """

    def __init__(
        self,
        own: conf.Settings,
        *,
        codec: Codec,
        fallback: SingleReads | None = None,
        on_crash: Callable[[], None] = end_process,
    ) -> None:
        self._on_crash = on_crash
        self._keep = timedelta(days=own.keep_commands_days)
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.foreign_writer = own.single_messages
        self.reader = ReadClient(own.reader_address, token=own.read_token, fallback=fallback)
        self._tells_outcomes = True
        self.journal = Journal(own.delay, own.journal_limit, self.owner, delivery=self.delivery)
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
        self.link = MqttLink(
            own.broker_address,
            name="cqrs-gateway",
            topics=[topics.HELLO],
            on_message=self._on_broker_message,
            on_connect=lambda: self.relay.on_connect(),
            username=own.mqtt_username,
            password=own.mqtt_password,
        )
        self.relay = Relay(self.journal, self.link, codec, delivery=self.delivery)
        self.sweep = Sweep(
            self.journal, self.relay, self.reader.get_outcomes, away=(ReadError,), delivery=self.delivery
        )

    def delivery(self) -> Delivery:
        """How commands are delivered at present: by what the writer is said to be, and the read side turned out to."""
        return choose(foreign_writer=self.foreign_writer, tells_outcomes=self._tells_outcomes)

    async def __aenter__(self) -> Self:
        """Raises StartError when the database is not migrated."""
        global _open
        await sync_to_async(check_migrated)()
        async with contextlib.AsyncExitStack() as opened:
            await opened.enter_async_context(self.reader)
            await opened.enter_async_context(self.journal)
            opened.push_async_callback(self._end_tasks)
            self._start("notices", self.feed.run())
            self._start("journal", self.journal.watch())
            self._start("history guard", self.history_guard.run())
            self._start("link", self.link.run())
            self._start("relay", self.relay.run())
            self._start("sweep", self.sweep.run())
            self._start("pruning", self._prune())
            self._closing = opened.pop_all()
        _open = self
        tune_collector()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        global _open
        _open = None
        await self._closing.aclose()

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

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"gateway {name}")
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.critical("%s ended, and so does this process", task.get_name(), exc_info=task.exception())
        self._on_crash()

    async def _prune(self) -> None:
        """Keeps the journal from growing for ever. Every gateway does: twice pruned is pruned."""
        while True:
            try:
                pruned = await self.journal.prune(datetime.now(UTC) - self._keep)
            except JournalUnavailable as error:
                log.warning("cannot prune the journal: %s", error)
            else:
                log.log(logging.INFO if pruned else logging.DEBUG, "pruned %d commands from the journal", pruned)
            await asyncio.sleep(PRUNE_EVERY)

    async def _end_tasks(self) -> None:
        """Cancels the last started first."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task])
