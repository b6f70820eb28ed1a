"""Write services to call: a whole one, and one that knows only the Go example's contract."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from cqrs.transport.grpc_server import grpc_server
from cqrs.writer.decoding import Received
from cqrs.writer.delay_queue import DelayQueue, ScheduledCommand
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_write_pb2_grpc import ContactWriterServicer, add_ContactWriterServicer_to_server
from protocol.cqrs_command_pb2 import Command, CommandBatch
from protocol.cqrs_write_pb2 import ApplyReply, MalformedBatch, Recorded
from protocol.cqrs_write_pb2_grpc import WriteServiceServicer, add_WriteServiceServicer_to_server
from tests.support import envelopes

SERVICES = ("protocol.ContactWriter", "cqrs.WriteService")


class ContractOnly(ContactWriterServicer):
    """A foreign database service: what it does not know is UNIMPLEMENTED."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Contact | ContactReference]] = []
        self.at_once = self.most_at_once = 0
        self.pause = 0.0
        self.answer = RequestResponse()
        self.fail: Callable[[Contact | ContactReference], grpc.StatusCode | None] = lambda _: None

    async def _call(self, kind: str, request: Any, context: Any) -> RequestResponse:
        code = self.fail(request)
        if code is not None:
            await context.abort(code, "told to fail")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.pause)
        self.at_once -= 1
        self.calls.append((kind, request))
        return self.answer

    async def AddContact(self, request: Contact, context: Any) -> RequestResponse:
        return await self._call("add", request, context)

    async def UpdateContact(self, request: Contact, context: Any) -> RequestResponse:
        return await self._call("update", request, context)

    async def DeleteContact(self, request: ContactReference, context: Any) -> RequestResponse:
        return await self._call("delete", request, context)


class Whole(ContractOnly, WriteServiceServicer):
    """A database service with our calls too, that fails when told."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Command]] = []
        self.recorded: list[Any] = []
        self.deferred: list[str] = []
        self.outage: grpc.StatusCode | None = None
        self.refused = 0
        self.defects: dict[str, grpc.StatusCode] = {}

    async def Apply(self, request: CommandBatch, context: Any) -> ApplyReply:
        if self.outage:
            self.refused += 1
            await context.abort(self.outage, "told to be away")
        for command in request.command:
            if code := self.defects.get(envelopes.id_of(command)):
                await context.abort(code, "told to fail")
        if request.command:
            self.batches.append(list(request.command))
        return ApplyReply(deferred=self.deferred)

    async def RecordMalformed(self, request: MalformedBatch, context: Any) -> Recorded:
        if self.outage:
            await context.abort(self.outage, "told to be away")
        self.recorded += request.message
        return Recorded()

    @property
    def applied(self) -> list[str]:
        return [envelopes.id_of(command) for batch in self.batches for command in batch]


@contextlib.asynccontextmanager
async def serving(servicer: ContactWriterServicer, address: str, token: str = "") -> AsyncIterator[None]:
    def register(server: grpc.aio.Server) -> None:
        add_ContactWriterServicer_to_server(servicer, server)
        if isinstance(servicer, WriteServiceServicer):
            add_WriteServiceServicer_to_server(servicer, server)

    async with grpc_server(address, register, tokens=dict.fromkeys(SERVICES, token), grace=0.1):
        yield


def due(*commands: Command) -> list[ScheduledCommand]:
    """The commands as a writer has them when they are due."""
    queue = DelayQueue(delay=0, limit=100_000)
    for command in commands:
        queue.schedule(Received(command, command.SerializeToString(), at_most_once=False))
    taken = []
    while batch := queue.take():
        taken += batch
    return taken


def ids(commands: Sequence[Command]) -> list[str]:
    return [envelopes.id_of(command) for command in commands]
