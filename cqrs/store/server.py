"""The database service: its read side, its write side or both, on the store's database."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
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
from cqrs.transport.addresses import split_address
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers
from cqrs.transport.process import stop_signal
from protocol.cqrs_read_pb2_grpc import add_ReadServiceServicer_to_server
from protocol.cqrs_write_pb2_grpc import add_WriteServiceServicer_to_server

log = logging.getLogger("cqrs.store.server")


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


class DatabaseServer:
    """Serves on `bind` ("host:port"; port 0: a free one).

    serve: "read", "write" or "all", so that the halves can run as two processes on one database.
    contract: services beside the kit's own, for clients that speak another contract.
    memory: the rows live and end with this process, in place of the configured database.
    keep: how long notices are kept.
    """

    def __init__(
        self,
        bind: str,
        serve: str = "all",
        *,
        contract: Sequence[Service] = (),
        memory: bool = False,
        keep: timedelta = timedelta(days=90),
        read_token: str = "",
        write_token: str = "",
    ) -> None:
        self._bind = bind
        self._services = [each for each in (*OWN, *contract) if serve in (each.side, "all")]
        self._writes = serve != "read"
        self._tokens = {each.name: read_token if each.side == "read" else write_token for each in self._services}
        self._memory = memory
        self._keep = keep

    async def run(self, notify: Callable[[str], object]) -> None:
        """Serves until SIGTERM or SIGINT; names the services in one line once they are up. Raises StartError."""
        async with self.serving() as port:
            host, _ = split_address(self._bind)
            store = "memory" if self._memory else engine_of(ALIAS).place
            notify(f"serving {_listed([*self._tokens])} on {host}:{port}, rows kept in {store}")
            await stop_signal()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serves within the context, and yields the port. Raises StartError.

        A task that dies by a defect ends the context with its error, after a CRITICAL line in the log.
        """
        if self._memory:
            connections.databases[ALIAS] |= sqlite(":memory:")
        threads = DatabaseThreads(memory=self._memory)
        try:
            await threads.write(_migrate if self._memory else _check)
            watch = NoticeWatch(threads, memory=self._memory, ask_every=SELDOM if self._writes else OFTEN)
            writer = CommandWriter(threads, on_notices=watch.push)
            streams = StreamedAnswers()
            sides = {
                "read": ReadService(threads, watch, streams, memory=self._memory),
                "write": WriteService(threads, writer, streams),
            }

            def register(server: grpc.aio.Server) -> None:
                for service in self._services:
                    service.register(sides[service.side], server)

            def end_streams() -> None:
                watch.stop()
                streams.stop()

            async with contextlib.AsyncExitStack() as stack:
                server = grpc_server(self._bind, register, tokens=self._tokens, before_stop=end_streams)
                port = await stack.enter_async_context(server)
                async with asyncio.TaskGroup() as group:
                    work = {"watch notices": watch.run()}
                    if self._writes:
                        work["apply commands"] = writer.run()
                        work["retry parked commands"] = writer.retry()
                        work["prune notices"] = prune_notices(threads, self._keep)
                    tasks = [group.create_task(_vital(name, each), name=name) for name, each in work.items()]
                    try:
                        yield port
                    finally:
                        # Calls first: they wait for what the tasks do.
                        await stack.aclose()
                        for task in tasks:
                            task.cancel()
        finally:
            # Django closes no connection on the thread of an event loop.
            await asyncio.to_thread(threads.close)


async def _vital(what: str, work: Coroutine[Any, Any, None]) -> None:
    """Does work without which the service is of no use: its defect ends the task group, and so the process."""
    try:
        await work
    except Exception:
        log.critical("the service ends: it cannot %s any more", what, exc_info=True)
        raise


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _apps() -> list[str]:
    """The apps whose rows are in the store's database: the kit's own, and those that declare aggregates."""
    return ["cqrs", *sorted({each.store.model._meta.app_label for each in registry().values()})]


def _migrate() -> None:
    for app in _apps():
        call_command("migrate", app, database=ALIAS, verbosity=0, interactive=False)


def _check() -> None:
    engine_of(ALIAS).check(ALIAS, _apps())
