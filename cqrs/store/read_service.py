"""The service `protocol.ContactReader` on the database."""

import contextlib
from collections.abc import AsyncIterator

from cqrs.store import batch_reads, notices
from cqrs.store.errors import InvalidRequest, PositionInvalid
from cqrs.store.grpc_errors import Context, statuses
from cqrs.store.threads import DatabaseThreads
from cqrs.store.watch import NoticeWatch
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.contact_pb2 import ContactReference
from protocol.contact_read_pb2 import (
    ContactArrayRequestResponse,
    ContactRequestResponse,
    ListContactsFilter,
    NoticesRequest,
    OutcomesRequest,
    ReadReply,
    ReadRequest,
    WatchRequest,
)
from protocol.contact_read_pb2_grpc import ContactReaderServicer
from protocol.notice_pb2 import NoticeBatch

MOST_QUESTIONS = 1000
# A contact takes 950 bytes at most, and a message of gRPC holds 4 MiB.
MOST_CONTACTS = 4000
MOST_OUTCOMES = 1000


class ContactReader(ContactReaderServicer):
    """Answers reads: the contract's with what is wrong inside, extensions with status codes."""

    def __init__(self, threads: DatabaseThreads, watch: NoticeWatch, streams: StreamedAnswers, *, memory: bool) -> None:
        self._threads = threads
        self._watch = watch
        self._memory = memory
        self._streams = streams

    async def GetContact(self, request: ContactReference, context: Context) -> ContactRequestResponse:
        async with statuses(context):
            return (await self._threads.read(batch_reads.read, [request.id], [])).contact[0]

    async def ListContacts(self, request: ListContactsFilter, context: Context) -> ContactArrayRequestResponse:
        async with statuses(context):
            return (await self._threads.read(batch_reads.read, [], [request.count])).list[0]

    async def Read(self, request: ReadRequest, context: Context) -> ReadReply:
        async with statuses(context):
            return await self._read(request)

    async def ReadEach(self, requests: AsyncIterator[ReadRequest], context: Context) -> None:
        async with statuses(context):
            await self._streams.serve(requests, context, self._read)

    async def GetOutcomes(self, request: OutcomesRequest, context: Context) -> NoticeBatch:
        async with statuses(context):
            if len(request.command_id) > MOST_OUTCOMES:
                raise InvalidRequest(f"at most {MOST_OUTCOMES} command ids, not {len(request.command_id)}")
            return self._marked(await self._threads.read(notices.outcomes, request.command_id))

    async def ReadNotices(self, request: NoticesRequest, context: Context) -> NoticeBatch:
        async with statuses(context):
            if not request.after:
                raise PositionInvalid
            if not 1 <= request.limit <= notices.MAX_BATCH:
                raise InvalidRequest(f"limit must be 1 to {notices.MAX_BATCH}, not {request.limit}")
            return self._marked(await self._threads.read(notices.after, request.after, request.limit))

    async def WatchNotices(self, request: WatchRequest, context: Context) -> AsyncIterator[NoticeBatch]:
        async with statuses(context), contextlib.aclosing(self._watch.watch(request.after)) as batches:
            async for batch in batches:
                yield batch

    async def _read(self, request: ReadRequest) -> ReadReply:
        _check_size(request)
        return await self._threads.read(batch_reads.read, request.contact_id, request.list_count)

    def _marked(self, batch: NoticeBatch) -> NoticeBatch:
        batch.memory = self._memory
        return batch


def _check_size(request: ReadRequest) -> None:
    questions = len(request.contact_id) + len(request.list_count)
    contacts = len(request.contact_id) + sum(count for count in request.list_count if count > 0)
    if questions > MOST_QUESTIONS or contacts > MOST_CONTACTS:
        raise InvalidRequest(
            f"at most {MOST_QUESTIONS} questions for {MOST_CONTACTS} contacts, not {questions} for {contacts}"
        )
