"""The client of the reader: contacts as stored, and what became of commands."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Self

from cqrs.query.batch_reader import Answers
from cqrs.query.batcher import Gatherer
from cqrs.query.connection import Connection
from cqrs.query.errors import InvalidRead, ReaderUnavailable
from protocol import rules
from protocol.contact_pb2 import Contact
from protocol.contact_read_pb2 import NoticesRequest, OutcomesRequest, WatchRequest
from protocol.notice_pb2 import Notice, NoticeBatch

MAX_OUTCOMES = 1000
MAX_NOTICES = 1000


class ReadClient:
    """Reads through the reader at `address`; open within `async with`, on one event loop.

    Every read ends within `timeout` seconds (`deadline`, where none is given). Until then it is asked again while
    the reader is away, so that a restart is not seen; ReaderUnavailable is raised when that did not help.
    What is returned may be shared with other callers: not to be changed.
    """

    def __init__(self, address: str, *, token: str = "", deadline: float = 2.0) -> None:
        self.address = address
        self.deadline = deadline
        self._connection = Connection(address, token)
        self._gatherer = Gatherer(Answers(self._connection).answer, late=self._connection.late, full=self._full)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self._gatherer.close(self._connection.closed())
        await self._connection.close()

    async def get_contact(self, contact_id: str, *, timeout: float | None = None) -> Contact | None:
        """The contact as stored, None when there is none. Raises InvalidRead for what is no id."""
        if problem := rules.id_error(contact_id):
            raise InvalidRead(problem)
        contact: Contact | None = await self._gatherer.get(contact_id, self._within(timeout))
        return contact

    async def list_contacts(self, count: int, *, timeout: float | None = None) -> Sequence[Contact]:
        """The first `count` contacts. Raises InvalidRead for a count out of range."""
        if problem := rules.count_error(count):
            raise InvalidRead(problem)
        if count == 0:
            # The Go example's database takes 0 for all.
            return ()
        contacts: Sequence[Contact] = await self._gatherer.get(count, self._within(timeout))
        return contacts

    async def get_outcomes(self, command_ids: Iterable[str]) -> dict[str, Notice]:
        """The newest notice of each command that has one, by command id. Raises ExtensionMissing."""
        wanted = list(dict.fromkeys(command_ids))
        outcomes: dict[str, Notice] = {}
        for start in range(0, len(wanted), MAX_OUTCOMES):
            request = OutcomesRequest(command_id=wanted[start : start + MAX_OUTCOMES])
            batch: NoticeBatch = await self._connection.call("GetOutcomes", request, self._ends())
            outcomes.update((notice.command_id, notice) for notice in batch.notice)
        return outcomes

    async def read_notices(self, after: str, limit: int) -> NoticeBatch:
        """Up to `limit` (1 to 1,000) notices after a position. Raises PositionRefused, ExtensionMissing."""
        if not 1 <= limit <= MAX_NOTICES:
            raise InvalidRead(f"limit must be 1 to {MAX_NOTICES}, not {limit}")
        request = NoticesRequest(after=after, limit=limit)
        batch: NoticeBatch = await self._connection.call("ReadNotices", request, self._ends(), positioned=True)
        return batch

    def watch_notices(self, after: str) -> AsyncGenerator[NoticeBatch]:
        """Notices after a position ("": from now on), then each as it is committed, until the reader ends it.

        The first batch comes within `deadline` seconds, be it empty. Raises PositionRefused, ExtensionMissing, and
        ReaderUnavailable at once: who watches decides when to try again.
        """
        return self._connection.stream("WatchNotices", WatchRequest(after=after), self.deadline)

    def _within(self, timeout: float | None) -> float:
        return self.deadline if timeout is None else timeout

    def _ends(self) -> float:
        return asyncio.get_running_loop().time() + self.deadline

    def _full(self, most: int) -> ReaderUnavailable:
        return ReaderUnavailable(f"{most:,} reads wait for the reader at {self.address} already")
