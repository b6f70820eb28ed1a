"""The service `cqrs.ReadService` on the database."""

import contextlib
from collections.abc import AsyncIterator

from cqrs.store import batch_reads, notices
from cqrs.store.errors import InvalidRequest, PositionInvalid
from cqrs.store.grpc_errors import Context, statuses
from cqrs.store.threads import DatabaseThreads
from cqrs.store.watch import NoticeWatch
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.cqrs_notice_pb2 import NoticeBatch
from protocol.cqrs_read_pb2 import NoticesRequest, OutcomesRequest, ReadReply, ReadRequest, WatchRequest
from protocol.cqrs_read_pb2_grpc import ReadServiceServicer

MOST_KEYS = 1000
MOST_STATES = 4000
MOST_OUTCOMES = 1000


class ReadService(ReadServiceServicer):
    """Answers reads and shows notices; fails with status codes."""

    def __init__(self, threads: DatabaseThreads, watch: NoticeWatch, streams: StreamedAnswers, *, memory: bool) -> None:
        self._threads = threads
        self._watch = watch
        self._memory = memory
        self._streams = streams

    async def Read(self, request: ReadRequest, context: Context) -> ReadReply:
        async with statuses(context):
            return await self.read(request)

    async def ReadEach(self, requests: AsyncIterator[ReadRequest], context: Context) -> None:
        async with statuses(context):
            await self._streams.serve(requests, context, self.read)

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

    async def read(self, request: ReadRequest) -> ReadReply:
        """The answers to the keys. Raises InvalidRequest, DatabaseAway."""
        _check_size(request)
        return await self._threads.read(batch_reads.read, request.key)

    def _marked(self, batch: NoticeBatch) -> NoticeBatch:
        batch.memory = self._memory
        return batch


def _check_size(request: ReadRequest) -> None:
    keys = len(request.key)
    states = sum(max(key.page.count, 0) if key.HasField("page") else 1 for key in request.key)
    if keys > MOST_KEYS or states > MOST_STATES:
        raise InvalidRequest(f"at most {MOST_KEYS} keys for {MOST_STATES} states, not {keys} for {states}")
