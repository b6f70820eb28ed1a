"""Garbage on every gRPC method of the real services: answered, and neither logged with a traceback nor in the way."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from cqrs.query.reader import ReaderServer
from cqrs.store.server import DatabaseServer
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.grpc_server import is_healthy
from database_service.go_contract import GO_CONTRACT
from protocol import contact_read_pb2, contact_write_pb2, cqrs_read_pb2, cqrs_write_pb2
from protocol.cqrs_read_pb2 import ReadReply, ReadRequest
from protocol.cqrs_read_pb2_grpc import ReadServiceStub

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

CONTRACT = contact_read_pb2.DESCRIPTOR.services_by_name["ContactReader"]
READ = [CONTRACT, cqrs_read_pb2.DESCRIPTOR.services_by_name["ReadService"]]
WRITE = [
    contact_write_pb2.DESCRIPTOR.services_by_name["ContactWriter"],
    cqrs_write_pb2.DESCRIPTOR.services_by_name["WriteService"],
]
COMMON = [
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
]
CONTRACTS = ("GetContact", "ListContacts", "AddContact", "UpdateContact", "DeleteContact")
METHODS = [
    (which, method)
    for which, services in (("database", (*READ, *WRITE, *COMMON)), ("reader", (*READ, *COMMON)))
    for service in services
    for method in service.methods
    if not service.full_name.startswith("protocol.") or method.name in CONTRACTS
]

# The first byte names a field that is too short, or a wire type that there is not.
GARBAGE = [b"\x0a\xff", b"\xff", b"\x0f\x00", b"\x0a\x05abc"]


@contextlib.asynccontextmanager
async def serving(which: str) -> AsyncIterator[str]:
    async with contextlib.AsyncExitStack() as opened:
        database = DatabaseServer("127.0.0.1:0", contract=GO_CONTRACT)
        port = await opened.enter_async_context(database.serving())
        if which == "reader":
            reader = ReaderServer("127.0.0.1:0", f"127.0.0.1:{port}", contracts=[CONTRACT])
            port = await opened.enter_async_context(reader.serving())
        yield f"127.0.0.1:{port}"


async def call(channel: grpc.aio.Channel, method: object, payload: bytes) -> grpc.StatusCode:
    """The status of a call with this payload."""
    path = f"/{method.containing_service.full_name}/{method.name}"  # type: ignore[attr-defined]
    takes, gives = method.client_streaming, method.server_streaming  # type: ignore[attr-defined]

    async def requests() -> AsyncIterator[bytes]:
        yield payload

    try:
        if gives:
            made = channel.stream_stream(path)(requests()) if takes else channel.unary_stream(path)(payload)
            async for _ in made:
                pass
        else:
            await channel.unary_unary(path)(payload, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("which", "method"), METHODS, ids=lambda value: value if isinstance(value, str) else value.full_name
)
async def test_garbage_is_refused_as_an_argument_without_a_traceback_and_the_service_goes_on(
    which: str, method: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(which) as address, open_channel(address) as channel:
        for payload in GARBAGE:
            assert await call(channel, method, payload) is grpc.StatusCode.INVALID_ARGUMENT, payload
        assert await is_healthy(address)
        assert await ReadServiceStub(channel).Read(ReadRequest()) == ReadReply()
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    said = [record for record in caplog.records if "a malformed message came to" in record.getMessage()]
    assert len(said) == 1, "once, however much comes"


async def test_bytes_that_are_no_grpc_at_all_are_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    source = random.Random(4)
    async with serving("database") as address:
        host, _, port = address.rpartition(":")
        for payload in (b"GET / HTTP/1.1\r\n\r\n", bytes(10_000), source.randbytes(10_000)):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(payload)
            # Who is served garbage may hang up at any moment.
            with contextlib.suppress(OSError):
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert await is_healthy(address)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
