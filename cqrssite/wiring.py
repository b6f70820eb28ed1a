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

from contacts_read.go_contract import ContractReads
from cqrs.engines import engine_of
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.journal import Journal
from cqrs.journal.relay import CommandPublisher
from cqrs.journal.sweep import Sweep
from cqrs.query.client import ReadClient
from cqrs.query.errors import ExtensionMissing, PositionTooOld, PositionUnknown, ReadError
from cqrs.query.feed import NoticeFeed, State
from cqrs.recovery.history_guard import Recognition, Refusals
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import spare_collector
from cqrssite.environment import Environment
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


def check_migrated() -> None:
    """Raises StartError when the gateway's database lacks a migration, or is none that the journal can be in."""
    engine_of("default").check("gateway's")


def end_process() -> None:
    """Ends this process as a supervisor would: it drains first."""
    os.kill(os.getpid(), signal.SIGTERM)


class Gateway:
    """The clients and background tasks of one gateway process, open within `async with`; belongs to one event loop.

    on_crash: called once when a background task fails, which is a defect; by default the process ends,
    since a gateway without that task would look alive and settle or send nothing.
    """

    def __init__(self, contacts: Environment, *, on_crash: Callable[[], None] = end_process) -> None:
        self._on_crash = on_crash
        self._keep = timedelta(days=contacts.keep_commands_days)
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.foreign_writer = contacts.single_messages
        self.reader = ReadClient(contacts.reader_address, token=contacts.read_token, fallback=ContractReads())
        self.journal = Journal(contacts.delay, contacts.journal_limit, self.owner)
        self.recognition = Recognition(
            self.journal,
            self.reader.read_notices,
            refusals=REFUSALS,
            away=(ReadError,),
            on_change=self._note_database,
        )
        self.feed = NoticeFeed(
            self.reader,
            on_notices=[self.recognition.hear, self.journal.settle],
            on_connected=self.recognition.greet,
            on_state=self._note_notices,
        )
        self.link = MqttLink(
            contacts.broker_address,
            name="contacts-gateway",
            topics=[topics.HELLO],
            on_message=self._hear_broker,
            on_connect=lambda: self.publisher.on_connect(),
            username=contacts.mqtt_username,
            password=contacts.mqtt_password,
        )
        self.publisher = CommandPublisher(self.journal, self.link, single=contacts.single_messages)
        self.sweep = Sweep(
            self.journal, self.publisher, self.reader.get_outcomes, away=(ReadError,), missing=(ExtensionMissing,)
        )

    async def __aenter__(self) -> Self:
        """Raises StartError when the database is not migrated."""
        global _open
        await sync_to_async(check_migrated)()
        async with contextlib.AsyncExitStack() as opened:
            await opened.enter_async_context(self.reader)
            await opened.enter_async_context(self.journal)
            opened.push_async_callback(self._end_tasks)
            self._start("notices", self.feed.run())
            self._start("recognition", self.recognition.run())
            self._start("link", self.link.run())
            self._start("publisher", self.publisher.run())
            self._start("sweep", self.sweep.run())
            self._start("pruning", self._prune())
            self._closing = opened.pop_all()
        _open = self
        spare_collector()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        global _open
        _open = None
        await self._closing.aclose()

    def _hear_broker(self, topic: str, payload: bytes) -> None:
        self.publisher.on_message(topic, payload)
        self.sweep.on_message(topic, payload)

    def _note_notices(self, state: State) -> None:
        """Without notices no command is ever settled: then the broker's acknowledgement is all there is."""
        if state != "live":
            self.recognition.part(ever=state != "missing")
        if state != "connecting":
            self.publisher.handing_over = state == "missing"

    def _note_database(self, lost: bool) -> None:
        """What is sent to another database than the one that is followed would take effect before what that lacks."""
        self.publisher.paused = lost
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
