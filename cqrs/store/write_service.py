"""The service `protocol.ContactWriter` on the database."""

from collections.abc import AsyncIterator

from cqrs.store import malformed, notices
from cqrs.store.command_writer import CommandWriter
from cqrs.store.grpc_errors import Context, statuses
from cqrs.store.incoming import offer_of
from cqrs.store.threads import DatabaseThreads
from cqrs.transport.persistent_calls import StreamedAnswers
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_write_pb2 import ApplyReply, Command, CommandBatch, UndecodableBatch
from protocol.contact_write_pb2_grpc import ContactWriterServicer
from protocol.notice_pb2 import Notice

# Kinds that say that what was asked for was done.
_DONE = {Notice.ADDED, Notice.UPDATED, Notice.DELETED, Notice.CANCELLED}


class ContactWriter(ContactWriterServicer):
    """Applies commands; the contract's RPCs answer with what became of the command, extensions with status codes."""

    def __init__(self, threads: DatabaseThreads, writer: CommandWriter, streams: StreamedAnswers) -> None:
        self._threads = threads
        self._writer = writer
        self._streams = streams

    async def AddContact(self, request: Contact, context: Context) -> RequestResponse:
        return await self._apply_one(Command(add=request), context)

    async def UpdateContact(self, request: Contact, context: Context) -> RequestResponse:
        return await self._apply_one(Command(update=request), context)

    async def DeleteContact(self, request: ContactReference, context: Context) -> RequestResponse:
        return await self._apply_one(Command(delete=request), context)

    async def Apply(self, request: CommandBatch, context: Context) -> ApplyReply:
        async with statuses(context):
            return await self._apply(request)

    async def ApplyEach(self, requests: AsyncIterator[CommandBatch], context: Context) -> None:
        async with statuses(context):
            await self._streams.serve(requests, context, self._apply)

    async def RecordUndecodable(self, request: UndecodableBatch, context: Context) -> RequestResponse:
        async with statuses(context):
            await self._threads.write(malformed.record, request.undecodable)
            return RequestResponse(status=RequestResponse.OK, Message="Recorded")

    async def _apply(self, batch: CommandBatch) -> ApplyReply:
        applied = await self._writer.apply(batch.command)
        if not applied.left:
            return ApplyReply()
        asked = {offer_of(command).command_id for command in batch.command}
        return ApplyReply(left=[command_id for command_id in applied.left if command_id in asked])

    async def _apply_one(self, command: Command, context: Context) -> RequestResponse:
        offer = offer_of(command)
        async with statuses(context):
            await self._writer.apply([offer.command])
            # Asked for, since it may have been known before.
            outcome = await self._threads.write(notices.outcomes, [offer.command_id])
        if not outcome.notice:
            message = f"it depends on the command {offer.depends_on}, which is not settled: send it again"
            return RequestResponse(status=RequestResponse.ERROR, Message=message)
        notice = outcome.notice[0]
        return RequestResponse(
            status=RequestResponse.OK if notice.kind in _DONE else RequestResponse.ERROR, Message=notice.message
        )
