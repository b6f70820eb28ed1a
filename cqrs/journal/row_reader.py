"""The thread that reads the journal's rows for one event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DatabaseError, connections

from cqrs.journal import rows
from cqrs.journal.errors import JournalUnavailable
from cqrs.transport.backoff import describe

T = TypeVar("T")


class RowReader:
    """Runs queries one after the other, on a connection of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")

    async def read(self, query: Callable[[], T]) -> T:
        """What `query` returns. Raises JournalUnavailable."""
        try:
            return await self._loop.run_in_executor(self._thread, query)
        except DatabaseError as error:
            # A connection that failed may be of no use; the next query opens another.
            await self._disconnect()
            raise JournalUnavailable(f"the journal cannot be read: {describe(error)}") from error

    async def close(self) -> None:
        await self._disconnect()
        self._thread.shutdown()

    async def _disconnect(self) -> None:
        await self._loop.run_in_executor(self._thread, lambda: connections[rows.database()].close())
