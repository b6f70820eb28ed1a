"""The threads on which the database's synchronous code runs."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cqrs.engines import engine_of
from cqrs.store.database import ALIAS
from cqrs.store.errors import DatabaseAway

log = logging.getLogger("cqrs.store.threads")

READERS = 3

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """One thread that writes and a few that read, each with its connection.

    A memory store lives in its one connection: there one thread does both.
    """

    def __init__(self, *, memory: bool) -> None:
        self._connections: list[BaseDatabaseWrapper] = []
        self._writer = ThreadPoolExecutor(1, "database-writer", initializer=self._connect)
        self._readers = self._writer
        if not memory:
            self._readers = ThreadPoolExecutor(READERS, "database-reader", initializer=self._connect)
        # By what was to be done: reading may go on while writing fails.
        self._trouble: dict[str, str] = {}

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns on a thread that reads. Raises DatabaseAway in place of the database's errors."""
        return await self._run(self._readers, function, *args, **kwargs)

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns on the thread that writes. Raises DatabaseAway in place of the database's errors."""
        return await self._run(self._writer, function, *args, **kwargs)

    def close(self) -> None:
        """Ends the threads, after what they do now, and closes their connections."""
        self._readers.shutdown()
        self._writer.shutdown()
        for connection in self._connections:
            connection.close()

    def _connect(self) -> None:
        connection = connections[ALIAS]
        # It is closed by the thread that ends the service.
        connection.inc_thread_sharing()
        self._connections.append(connection)

    async def _run(self, threads: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def call() -> T:
            try:
                return function(*args, **kwargs)
            except Error:
                # Of a server that was restarted nothing but a new connection is of use.
                connections[ALIAS].close_if_unusable_or_obsolete()
                raise

        try:
            result: T = await asyncio.get_running_loop().run_in_executor(threads, call)
        except Error as error:
            raise self._away(function.__name__, error) from error
        if self._trouble.pop(function.__name__, ""):
            log.info("%s: the database answers again", function.__name__)
        return result

    def _away(self, what: str, error: Error) -> DatabaseAway:
        """The error for the caller; one line in the log each time that another thing is wrong."""
        trouble = f"the database cannot be used: {engine_of(ALIAS).message(error) or type(error).__name__}"
        if trouble != self._trouble.get(what):
            log.error("%s: %s", what, trouble)
            self._trouble[what] = trouble
        return DatabaseAway(trouble)
