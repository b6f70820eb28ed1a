"""The Go example's contract on the database: its six RPCs, translated to the kit's calls and back.

A contract message is the kit's command flattened: field 1 is the id, field 15 the meta, the rest is the body. Business
and input errors stand inside of answers whose gRPC status is OK, as in the example.
"""

from typing import Protocol

import grpc

from cqrs.aggregate import registry
from cqrs.store.grpc_errors import Context, statuses
from cqrs.store.services import Service
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_read_pb2 import ContactArrayRequestResponse, ContactRequestResponse, ListContactsFilter
from protocol.contact_read_pb2_grpc import ContactReaderServicer, add_ContactReaderServicer_to_server
from protocol.contact_write_pb2_grpc import ContactWriterServicer, add_ContactWriterServicer_to_server
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from protocol.cqrs_read_pb2 import Answer, Key, Page, ReadReply, ReadRequest

AGGREGATE = "contact"

# Kinds of notices by which the caller's wish was done.
_DONE = {Notice.ADDED, Notice.UPDATED, Notice.DELETED, Notice.CANCELLED}


class Reads(Protocol):
    """The kit's read side. It raises DatabaseServiceError."""

    async def read(self, request: ReadRequest) -> ReadReply: ...


class Writes(Protocol):
    """The kit's write side. It raises DatabaseServiceError."""

    async def apply_one(self, command: Command) -> Notice | None: ...


class ContactReader(ContactReaderServicer):
    """Contacts as they are stored."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def GetContact(self, request: ContactReference, context: Context) -> ContactRequestResponse:
        answer = await self._read(Key(aggregate=AGGREGATE, id=request.id), context)
        if answer.error or not answer.state:
            message = answer.error or registry()[AGGREGATE].missing(request.id)
            return ContactRequestResponse(response=_error(message))
        return ContactRequestResponse(response=_ok("OK"), contact=Contact.FromString(answer.state[0]))

    async def ListContacts(self, request: ListContactsFilter, context: Context) -> ContactArrayRequestResponse:
        answer = await self._read(Key(aggregate=AGGREGATE, page=Page(count=request.count)), context)
        if answer.error:
            return ContactArrayRequestResponse(response=_error(answer.error))
        return ContactArrayRequestResponse(response=_ok("OK"), contact=map(Contact.FromString, answer.state))

    async def _read(self, key: Key, context: Context) -> Answer:
        async with statuses(context):
            return (await self._reads.read(ReadRequest(key=[key]))).answer[0]


class ContactWriter(ContactWriterServicer):
    """Applies one command at once, and answers with its outcome."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def AddContact(self, request: Contact, context: Context) -> RequestResponse:
        return await self._apply("contact.add", request, context)

    async def UpdateContact(self, request: Contact, context: Context) -> RequestResponse:
        return await self._apply("contact.update", request, context)

    async def DeleteContact(self, request: ContactReference, context: Context) -> RequestResponse:
        return await self._apply("contact.delete", request, context)

    async def _apply(self, kind: str, request: Contact | ContactReference, context: Context) -> RequestResponse:
        command = Command(meta=request.meta, kind=kind, aggregate_id=request.id)
        request.ClearField("meta")
        request.ClearField("id")
        command.body = request.SerializeToString()
        async with statuses(context):
            notice = await self._writes.apply_one(command)
        if notice is None:
            depends_on = command.meta.depends_on
            return _error(f"it depends on the command {depends_on}, which is not settled: send it again")
        return _ok(notice.message) if notice.kind in _DONE else _error(notice.message)


def _register_reader(reads: Reads, server: grpc.aio.Server) -> None:
    add_ContactReaderServicer_to_server(ContactReader(reads), server)


def _register_writer(writes: Writes, server: grpc.aio.Server) -> None:
    add_ContactWriterServicer_to_server(ContactWriter(writes), server)


GO_CONTRACT = (
    Service("protocol.ContactReader", "read", _register_reader),
    Service("protocol.ContactWriter", "write", _register_writer),
)


def _ok(message: str) -> RequestResponse:
    return RequestResponse(status=RequestResponse.OK, Message=message)


def _error(message: str) -> RequestResponse:
    return RequestResponse(status=RequestResponse.ERROR, Message=message)
