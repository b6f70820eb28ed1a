"""The service `cqrs.WriteService` on the database."""

from collections.abc import AsyncIterator

from cqrs.store import malformed, notices
from cqrs.store.command_writer import CommandWriter
from cqrs.store.grpc_errors import Context, statuses
from cqrs.store.incoming import incoming_of
from cqrs.store.threads import DatabaseThreads
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.cqrs_command_pb2 import Command, CommandBatch
from protocol.cqrs_notice_pb2 import Notice
from protocol.cqrs_write_pb2 import ApplyReply, MalformedBatch, Recorded
from protocol.cqrs_write_pb2_grpc import WriteServiceServicer


class WriteService(WriteServiceServicer):
    """Applies commands; fails with status codes."""

    def __init__(self, threads: DatabaseThreads, writer: CommandWriter, streams: StreamedAnswers) -> None:
        self._threads = threads
        self._writer = writer
        self._streams = streams

    async def Apply(self, request: CommandBatch, context: Context) -> ApplyReply:
        async with statuses(context):
            return await self._apply(request)

    async def ApplyEach(self, requests: AsyncIterator[CommandBatch], context: Context) -> None:
        async with statuses(context):
            await self._streams.serve(requests, context, self._apply)

    async def RecordMalformed(self, request: MalformedBatch, context: Context) -> Recorded:
        async with statuses(context):
            await self._threads.write(malformed.record, request.message)
            return Recorded()

    async def apply_one(self, command: Command) -> Notice | None:
        """The newest notice of the command once it was applied; None: it is deferred. Raises DatabaseAway."""
        (incoming,) = incoming_of([command])
        await self._writer.apply([incoming])
        # Asked for, since the command may have been known before.
        outcome = await self._threads.write(notices.outcomes, [incoming.command_id])
        return outcome.notice[0] if outcome.notice else None

    async def _apply(self, batch: CommandBatch) -> ApplyReply:
        return ApplyReply(deferred=await self._writer.apply(incoming_of(batch.command)))
