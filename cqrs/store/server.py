"""The database service: both gRPC services, or one of them, on the `contacts` database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import grpc
from django.core.management import call_command
from django.db import connections

from cqrs.engines import engine_of
from cqrs.engines.urls import sqlite
from cqrs.store.command_writer import CommandWriter
from cqrs.store.database import ALIAS
from cqrs.store.read_service import ContactReader
from cqrs.store.retention import prune_notices
from cqrs.store.threads import DatabaseThreads
from cqrs.store.watch import OFTEN, SELDOM, NoticeWatch
from cqrs.store.write_service import ContactWriter
from cqrs.transport.addresses import split_address
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers
from cqrs.transport.process import stop_signal
from protocol.contact_read_pb2_grpc import add_ContactReaderServicer_to_server
from protocol.contact_write_pb2_grpc import add_ContactWriterServicer_to_server

_APPS = ("cqrs", "database_service")


class DatabaseServer:
    """Serves on `bind` ("host:port"; port 0: a free one).

    serve: "read", "write" or "all", so that the halves can run as two processes on one database.
    memory: the contacts live and end with this process, in place of the configured database.
    keep: how long notices are kept.
    """

    def __init__(
        self,
        bind: str,
        serve: str = "all",
        *,
        memory: bool = False,
        keep: timedelta = timedelta(days=90),
        read_token: str = "",
        write_token: str = "",
    ) -> None:
        self._bind = bind
        self._tokens: dict[str, str] = {}
        if serve in ("read", "all"):
            self._tokens["protocol.ContactReader"] = read_token
        if serve in ("write", "all"):
            self._tokens["protocol.ContactWriter"] = write_token
        self._memory = memory
        self._keep = keep

    async def run(self, say: Callable[[str], object]) -> None:
        """Serves until SIGTERM or SIGINT; says in one line what, once it does. Raises StartError."""
        async with self.serving() as port:
            host, _ = split_address(self._bind)
            services = " and ".join(self._tokens)
            store = "memory" if self._memory else engine_of(ALIAS).place
            say(f"serving {services} on {host}:{port}, contacts kept in {store}")
            await stop_signal()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serves within the context, and yields the port. Raises StartError."""
        if self._memory:
            connections.databases[ALIAS] |= sqlite(":memory:")
        threads = DatabaseThreads(memory=self._memory)
        try:
            await threads.write(_migrate if self._memory else _check)
            ask_every = SELDOM if "protocol.ContactWriter" in self._tokens else OFTEN
            watch = NoticeWatch(threads, memory=self._memory, ask_every=ask_every)
            writer = CommandWriter(threads, on_notices=watch.push)
            streams = StreamedAnswers()

            def register(server: grpc.aio.Server) -> None:
                if "protocol.ContactReader" in self._tokens:
                    reads = ContactReader(threads, watch, streams, memory=self._memory)
                    add_ContactReaderServicer_to_server(reads, server)
                if "protocol.ContactWriter" in self._tokens:
                    add_ContactWriterServicer_to_server(ContactWriter(threads, writer, streams), server)

            def end_streams() -> None:
                watch.stop()
                streams.stop()

            async with contextlib.AsyncExitStack() as stack:
                server = grpc_server(self._bind, register, tokens=self._tokens, before_stop=end_streams)
                port = await stack.enter_async_context(server)
                async with asyncio.TaskGroup() as group:
                    tasks = []
                    if "protocol.ContactWriter" in self._tokens:
                        tasks.append(group.create_task(writer.run(), name="apply commands"))
                        tasks.append(group.create_task(writer.retry(), name="retry parked commands"))
                        tasks.append(group.create_task(prune_notices(threads, self._keep), name="prune notices"))
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


def _migrate() -> None:
    for app in _APPS:
        call_command("migrate", app, database=ALIAS, verbosity=0, interactive=False)


def _check() -> None:
    engine_of(ALIAS).check("contacts", _APPS)
