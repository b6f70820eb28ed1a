"""The store at work: its services, and the tasks on which they stand."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal, NamedTuple

import grpc
from django.core.management import call_command
from django.db import connections

from cqrs.aggregate import registry
from cqrs.engines import engine_of
from cqrs.engines.urls import sqlite
from cqrs.store.command_writer import CommandWriter
from cqrs.store.database import ALIAS
from cqrs.store.read_service import ReadService
from cqrs.store.retention import prune_notices
from cqrs.store.threads import DatabaseThreads
from cqrs.store.watch import OFTEN, SELDOM, NoticeWatch
from cqrs.store.write_service import WriteService
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.cqrs_read_pb2_grpc import add_ReadServiceServicer_to_server
from protocol.cqrs_write_pb2_grpc import add_WriteServiceServicer_to_server

log = logging.getLogger("cqrs.store.services")


class Service(NamedTuple):
    """A gRPC service by its full name.

    side: "read" or "write": the token that it asks for. register: adds its servicer to a server; it is given the kit's
    own servicer of that side, whose plain methods answer in the kit's messages.
    """

    name: str
    side: Literal["read", "write"]
    register: Callable[[Any, grpc.aio.Server], None]


OWN = (
    Service("cqrs.ReadService", "read", add_ReadServiceServicer_to_server),
    Service("cqrs.WriteService", "write", add_WriteServiceServicer_to_server),
)


class StoreServices:
    """The services of the store's database, on its threads, while its `working` lasts.

    serve: "read", "write" or "all", so that the halves can run as two processes on one database.
    contract: services beside the kit's own, for clients that speak another contract.
    memory: the rows live and end with this process, in place of the configured database.
    keep: how long notices are kept.
    """

    def __init__(
        self,
        serve: str = "all",
        *,
        contract: Sequence[Service] = (),
        memory: bool = False,
        keep: timedelta = timedelta(days=90),
    ) -> None:
        self.services = [each for each in (*OWN, *contract) if serve in (each.side, "all")]
        self._writes = serve != "read"
        self._memory = memory
        self._keep = keep

    @property
    def place(self) -> str:
        """Where the rows are kept, for a person."""
        return "memory" if self._memory else engine_of(ALIAS).place

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Within the context they answer. Raises StartError.

        A task that dies by a defect ends the context with its error, after a CRITICAL line in the log.
        """
        if self._memory:
            connections.databases[ALIAS] |= sqlite(":memory:")
        threads = DatabaseThreads(memory=self._memory)
        try:
            await threads.write(_migrate if self._memory else _check)
            watch = self._watch = NoticeWatch(threads, memory=self._memory, ask_every=SELDOM if self._writes else OFTEN)
            writer = CommandWriter(threads, on_notices=watch.push)
            streams = self._streams = StreamedAnswers()
            self._sides: dict[str, Any] = {
                "read": ReadService(threads, watch, streams, memory=self._memory),
                "write": WriteService(threads, writer, streams),
            }
            async with asyncio.TaskGroup() as group:
                work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"watch notices": watch.run}
                if self._writes:
                    work["apply commands"] = writer.run
                    work["retry parked commands"] = writer.retry
                    work["prune notices"] = partial(prune_notices, threads, self._keep)
                tasks = [group.create_task(_vital(name, each), name=name) for name, each in work.items()]
                failure: Exception | None = None
                try:
                    yield
                except Exception as error:  # noqa: BLE001  # raised below, alone: it is none of the tasks'
                    failure = error
                finally:
                    for task in tasks:
                        task.cancel()
            if failure is not None:
                raise failure
        finally:
            # Django closes no connection on the thread of an event loop.
            await asyncio.to_thread(threads.close)

    def register(self, server: Any) -> None:
        """Adds the servicers to a server."""
        for service in self.services:
            service.register(self._sides[service.side], server)

    def end_streams(self) -> None:
        """Ends what would not end by itself."""
        self._watch.stop()
        self._streams.stop()


async def _vital(what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Does work without which the services are of no use: its defect ends the task group, and so the process."""
    try:
        await work()
    except Exception:
        log.critical("the service ends: it cannot %s any more", what, exc_info=True)
        raise


def _apps() -> list[str]:
    """The apps whose rows are in the store's database: the kit's own, and those that declare aggregates."""
    return ["cqrs", *sorted({each.store.model._meta.app_label for each in registry().values()})]


def _migrate() -> None:
    for app in _apps():
        call_command("migrate", app, database=ALIAS, verbosity=0, interactive=False)


def _check() -> None:
    engine_of(ALIAS).check(ALIAS, _apps())
