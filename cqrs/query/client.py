"""The client of the reader: aggregates as stored, and outcomes of commands."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from cqrs.aggregate import registry
from cqrs.query.batch_reader import BatchReader, SingleReads
from cqrs.query.batcher import ReadBatcher
from cqrs.query.connection import SERVICE, Connection, Method
from cqrs.query.errors import InvalidRead, ReaderUnavailable
from cqrs.query.keys import ById, First
from cqrs.transport.grpc_channel import open_channel
from protocol import rules
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.cqrs_read_pb2 import NoticesRequest, OutcomesRequest, WatchRequest

MAX_OUTCOMES = 1000
MAX_NOTICES = 1000

_GET_OUTCOMES = Method.of(SERVICE, "GetOutcomes")
_READ_NOTICES = Method.of(SERVICE, "ReadNotices")
_WATCH_NOTICES = Method.of(SERVICE, "WatchNotices")


class ReadClient:
    """Reads through the reader at `address`; open within `async with`, on one event loop.

    Every read ends within `timeout` seconds (`deadline`, where none is given). Until then it is repeated while the
    reader is away, so that a restart is not seen; ReaderUnavailable is raised when that did not help.
    The messages that are returned may be shared with other callers: not to be changed.
    fallback: reads by a contract, from peers that do not know the kit's own service.
    channel_to: makes a channel to the address.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        deadline: float = 2.0,
        fallback: SingleReads | None = None,
        channel_to: Callable[[str], Any] = open_channel,
    ) -> None:
        self.address = address
        self.deadline = deadline
        self._connection = Connection(address, token, channel_to)
        reader = BatchReader(self._connection, fallback)
        self._batcher = ReadBatcher(reader.answer, late=self._connection.late, full=self._full)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self._batcher.close(self._connection.closed())
        await self._connection.close()

    async def get(self, aggregate: str, aggregate_id: str, *, timeout: float | None = None) -> Any | None:
        """The state of one, None when there is none. Raises InvalidRead for a malformed id or an unknown aggregate."""
        _refuse(aggregate, rules.id_error(aggregate_id))
        return await self._batcher.get(ById(aggregate, aggregate_id), self._within(timeout))

    async def first(self, aggregate: str, count: int, *, timeout: float | None = None) -> Sequence[Any]:
        """The states of the first `count`. Raises InvalidRead for a count out of range or an unknown aggregate."""
        _refuse(aggregate, rules.count_error(count))
        if count == 0:
            # The Go example's database takes 0 for all.
            return ()
        states: Sequence[Any] = await self._batcher.get(First(aggregate, count), self._within(timeout))
        return states

    async def get_outcomes(self, command_ids: Iterable[str]) -> dict[str, Notice]:
        """The newest notice of each command that has one, by command id. Raises ExtensionMissing."""
        wanted = list(dict.fromkeys(command_ids))
        outcomes: dict[str, Notice] = {}
        for start in range(0, len(wanted), MAX_OUTCOMES):
            request = OutcomesRequest(command_id=wanted[start : start + MAX_OUTCOMES])
            batch: NoticeBatch = await self._connection.call(_GET_OUTCOMES, request, self._ends())
            outcomes.update((notice.command_id, notice) for notice in batch.notice)
        return outcomes

    async def read_notices(self, after: str, limit: int) -> NoticeBatch:
        """Up to `limit` (1 to 1,000) notices after a position. Raises PositionRefused, ExtensionMissing."""
        if not 1 <= limit <= MAX_NOTICES:
            raise InvalidRead(f"limit must be 1 to {MAX_NOTICES}, not {limit}")
        request = NoticesRequest(after=after, limit=limit)
        batch: NoticeBatch = await self._connection.call(_READ_NOTICES, request, self._ends(), positioned=True)
        return batch

    async def is_healthy(self) -> bool:
        """Whether the reader says within a second that it serves; one without a health service counts."""
        return await self._connection.is_healthy()

    def watch_notices(self, after: str) -> AsyncGenerator[NoticeBatch]:
        """Notices after a position ("": from now on), then each as it is committed, until the reader ends it.

        The first batch comes within `deadline` seconds, be it empty. Raises PositionRefused, ExtensionMissing, and
        ReaderUnavailable at once: the caller decides when to try again.
        """
        return self._connection.stream(_WATCH_NOTICES, WatchRequest(after=after), self.deadline)

    def _within(self, timeout: float | None) -> float:
        return self.deadline if timeout is None else timeout

    def _ends(self) -> float:
        return asyncio.get_running_loop().time() + self.deadline

    def _full(self, most: int) -> ReaderUnavailable:
        return ReaderUnavailable(f"{most:,} reads wait for the reader at {self.address} already")


def _refuse(aggregate: str, problem: str | None) -> None:
    if problem is None and aggregate not in registry():
        problem = f"there is no aggregate {aggregate}"
    if problem is not None:
        raise InvalidRead(problem)
