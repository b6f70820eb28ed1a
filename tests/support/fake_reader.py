"""Stand-ins for what is behind the read side: a store of contacts and notices, in memory or served over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

import grpc

from cqrs.query.client import ReadClient
from cqrs.query.errors import (
    ExtensionMissing,
    PositionInvalid,
    PositionRefused,
    PositionTooOld,
    PositionUnknown,
    ReaderUnavailable,
)
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_read_pb2 import ContactArrayRequestResponse, ContactRequestResponse, ListContactsFilter
from protocol.contact_read_pb2_grpc import ContactReaderServicer, add_ContactReaderServicer_to_server
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.cqrs_read_pb2 import (
    Answer,
    Key,
    NoticesRequest,
    OutcomesRequest,
    ReadReply,
    ReadRequest,
    WatchRequest,
)
from protocol.cqrs_read_pb2_grpc import ReadServiceServicer, add_ReadServiceServicer_to_server

END = object()


class FakeStore:
    """Contacts, and the notices of a history that can be cut, replaced and watched."""

    def __init__(self, *, memory: bool = False) -> None:
        self.contacts: dict[str, Contact] = {}
        self.notices: list[Notice] = []
        self.database = "first"
        self.memory = memory
        # Notices up to this number are not kept.
        self.pruned = 0
        self._watches: set[asyncio.Queue[object]] = set()

    def commit(self, count: int = 1) -> list[Notice]:
        """Commits so many notices in one transaction."""
        committed = []
        for _ in range(count):
            number = len(self.notices) + 1
            notice = Notice(
                position=f"{number}.{self.database}",
                number=number,
                kind=Notice.ADDED,
                command_id=f"command-{number}",
                command_kind="contact.add",
                aggregate="contact",
                aggregate_id=f"contact-{number}",
            )
            self.notices.append(notice)
            committed.append(notice)
        self._tell(NoticeBatch(notice=committed, head=self.head, database=self.database, memory=self.memory))
        return committed

    def replace(self, database: str, *, keep: int = 0) -> None:
        """Becomes another database, whose history is the first `keep` notices of this one; ends all watches."""
        self.database = database
        del self.notices[keep:]
        for notice in self.notices:
            notice.position = f"{notice.number}.{database}"
        self.end_watches()

    def end_watches(self, error: Exception | None = None) -> None:
        """Ends all watches, with an error or well."""
        self._tell(END if error is None else error)

    @property
    def watchers(self) -> int:
        return len(self._watches)

    @property
    def head(self) -> str:
        return self.notices[-1].position if self.notices else "0"

    def after(self, position: str, limit: int) -> NoticeBatch:
        number, _, database = position.partition(".")
        if not number.isdigit():
            raise PositionInvalid(f"{position} is no position")
        if position != "0" and (database != self.database or int(number) > len(self.notices)):
            raise PositionUnknown("another history")
        if int(number) < self.pruned:
            raise PositionTooOld("not kept any more")
        found = self.notices[int(number) : int(number) + limit]
        return NoticeBatch(notice=found, head=self.head, database=self.database, memory=self.memory)

    async def watch(self, after: str) -> AsyncGenerator[NoticeBatch, None]:
        news: asyncio.Queue[object] = asyncio.Queue()
        hello = self.after(after or self.head, len(self.notices))
        self._watches.add(news)
        try:
            yield hello
            while (batch := await news.get()) is not END:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            self._watches.discard(news)

    def outcomes(self, command_ids: Iterable[str]) -> list[Notice]:
        wanted = set(command_ids)
        newest = {notice.command_id: notice for notice in self.notices if notice.command_id in wanted}
        return list(newest.values())

    def _tell(self, what: object) -> None:
        for news in self._watches:
            news.put_nowait(what)


def stored(count: int) -> FakeStore:
    """A store with so many contacts: c0, c1, …"""
    store = FakeStore()
    for number in range(count):
        store.contacts[f"c{number}"] = Contact(id=f"c{number}", name=f"name {number}")
    return store


class FakeReader(ReadClient):
    """A `ReadClient` without a reader. away: every call fails. extended: it knows more than the contract."""

    def __init__(self, store: FakeStore | None = None) -> None:
        super().__init__("fake:0")
        self.store = store or FakeStore()
        self.away = False
        self.extended = True
        # What was asked for: (after, limit) of each page of notices.
        self.pages: list[tuple[str, int]] = []

    async def get(self, aggregate: str, aggregate_id: str, *, timeout: float | None = None) -> Contact | None:
        self._check(extension=False)
        return self.store.contacts.get(aggregate_id)

    async def first(self, aggregate: str, count: int, *, timeout: float | None = None) -> Sequence[Contact]:
        self._check(extension=False)
        return list(self.store.contacts.values())[:count]

    async def get_outcomes(self, command_ids: Iterable[str]) -> dict[str, Notice]:
        self._check()
        return {notice.command_id: notice for notice in self.store.outcomes(command_ids)}

    async def read_notices(self, after: str, limit: int) -> NoticeBatch:
        self.pages.append((after, limit))
        await asyncio.sleep(0)
        self._check()
        return self.store.after(after, limit)

    async def watch_notices(self, after: str) -> AsyncGenerator[NoticeBatch, None]:
        await asyncio.sleep(0)
        self._check()
        async with contextlib.aclosing(self.store.watch(after)) as batches:
            async for batch in batches:
                yield batch

    def cut(self) -> None:
        """Breaks all watches."""
        self.store.end_watches(ReaderUnavailable("cut"))

    def _check(self, *, extension: bool = True) -> None:
        if self.away:
            raise ReaderUnavailable("away")
        if extension and not self.extended:
            raise ExtensionMissing("contract only")


class ContractDatabase(ContactReaderServicer):
    """The read service of a database that knows only the contract: all else is UNIMPLEMENTED."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        # The names of the RPCs called, and the seconds each had left.
        self.calls: list[str] = []
        self.left: list[float | None] = []
        # How many calls were left by their callers.
        self.abandoned = 0
        # The next calls end with this status.
        self.fails: tuple[grpc.StatusCode, str] | None = None
        # Calls wait for this.
        self.gate = asyncio.Event()
        self.gate.set()

    async def GetContact(self, request: ContactReference, context: grpc.aio.ServicerContext) -> ContactRequestResponse:
        await self._enter("GetContact", context)
        return self._contact(request.id)

    async def ListContacts(
        self, request: ListContactsFilter, context: grpc.aio.ServicerContext
    ) -> ContactArrayRequestResponse:
        await self._enter("ListContacts", context)
        return self._list(request.count)

    async def _enter(self, name: str, context: grpc.aio.ServicerContext) -> None:
        self.calls.append(name)
        self.left.append(context.time_remaining())
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        if self.fails is not None:
            await context.abort(*self.fails)

    def _contact(self, contact_id: str) -> ContactRequestResponse:
        contact = self.store.contacts.get(contact_id)
        if contact is None:
            missing = RequestResponse(status=RequestResponse.ERROR, Message=f"user with id {contact_id} not found")
            return ContactRequestResponse(response=missing)
        return ContactRequestResponse(contact=contact)

    def _list(self, count: int) -> ContactArrayRequestResponse:
        return ContactArrayRequestResponse(contact=list(self.store.contacts.values())[:count])


STATUS = {
    PositionTooOld: grpc.StatusCode.OUT_OF_RANGE,
    PositionUnknown: grpc.StatusCode.FAILED_PRECONDITION,
    PositionInvalid: grpc.StatusCode.INVALID_ARGUMENT,
}


class FullDatabase(ContractDatabase, ReadServiceServicer):
    """The read services of a database of ours."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__(store)
        self._streams = StreamedAnswers()

    async def Read(self, request: ReadRequest, context: grpc.aio.ServicerContext) -> ReadReply:
        await self._enter("Read", context)
        return self._read(request)

    async def ReadEach(self, requests: AsyncIterator[ReadRequest], context: grpc.aio.ServicerContext) -> None:
        async def answer(request: ReadRequest) -> ReadReply:
            await self._enter("ReadEach", context)
            return self._read(request)

        await self._streams.serve(requests, context, answer)

    def _read(self, request: ReadRequest) -> ReadReply:
        return ReadReply(answer=[self._answer(key) for key in request.key])

    def _answer(self, key: Key) -> Answer:
        if key.aggregate != "contact":
            return Answer(error=f"there is no aggregate {key.aggregate}")
        if key.WhichOneof("what") == "id":
            found = [self.store.contacts[key.id]] if key.id in self.store.contacts else []
        else:
            found = list(self.store.contacts.values())[: key.page.count]
        return Answer(state=[contact.SerializeToString() for contact in found])

    async def GetOutcomes(self, request: OutcomesRequest, context: grpc.aio.ServicerContext) -> NoticeBatch:
        await self._enter("GetOutcomes", context)
        if len(request.command_id) > 1000:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "at most 1,000")
        return NoticeBatch(notice=self.store.outcomes(request.command_id))

    async def ReadNotices(self, request: NoticesRequest, context: grpc.aio.ServicerContext) -> NoticeBatch:
        await self._enter("ReadNotices", context)
        try:
            return self.store.after(request.after, request.limit)
        except PositionRefused as error:
            return await context.abort(STATUS[type(error)], str(error))

    async def WatchNotices(
        self, request: WatchRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[NoticeBatch]:
        await self._enter("WatchNotices", context)
        try:
            async with contextlib.aclosing(self.store.watch(request.after)) as batches:
                async for batch in batches:
                    yield batch
        except PositionRefused as error:
            await context.abort(STATUS[type(error)], str(error))


@contextlib.asynccontextmanager
async def served(servicer: ContractDatabase, bind: str = "127.0.0.1:0") -> AsyncIterator[int]:
    """Serves the servicer over gRPC within the context, and yields the port."""
    is_full = isinstance(servicer, FullDatabase)
    services = {"protocol.ContactReader": "", **({"cqrs.ReadService": ""} if is_full else {})}

    def register(server: grpc.aio.Server) -> None:
        add_ContactReaderServicer_to_server(servicer, server)
        if is_full:
            add_ReadServiceServicer_to_server(servicer, server)

    async with grpc_server(bind, register, tokens=services, grace=0) as port:
        yield port
