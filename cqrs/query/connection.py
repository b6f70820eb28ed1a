"""One connection to a reader: every call with its deadline, asked again while the reader is away, errors translated."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cqrs.query.errors import (
    ExtensionMissing,
    PositionInvalid,
    PositionTooOld,
    PositionUnknown,
    ReadError,
    ReaderUnavailable,
)
from cqrs.transport.backoff import Backoff, describe
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel, says_serving
from cqrs.transport.persistent_calls import StreamedCall
from protocol.cqrs_read_pb2 import DESCRIPTOR, ReadReply, ReadRequest

_AWAY = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
_POSITION = {
    grpc.StatusCode.OUT_OF_RANGE: PositionTooOld,
    grpc.StatusCode.FAILED_PRECONDITION: PositionUnknown,
    grpc.StatusCode.INVALID_ARGUMENT: PositionInvalid,
}


class Method(NamedTuple):
    """An RPC."""

    name: str
    path: str
    request: type[Message]
    reply: type[Message]

    @classmethod
    def of(cls, service: ServiceDescriptor, name: str) -> Self:
        method = service.methods_by_name[name]
        path = f"/{service.full_name}/{name}"
        return cls(name, path, GetMessageClass(method.input_type), GetMessageClass(method.output_type))

    def on(self, kind: Any) -> Any:
        """The method as a callable of a channel. kind: how the channel makes one, for example its `unary_unary`."""
        encode = self.request.SerializeToString
        return kind(self.path, request_serializer=encode, response_deserializer=self.reply.FromString)


SERVICE = DESCRIPTOR.services_by_name["ReadService"]

_READ = Method.of(SERVICE, "Read")
_READ_EACH = Method.of(SERVICE, "ReadEach")


class Connection:
    """Calls the reader at `address`; opened and closed on one event loop, which its channel belongs to.

    channel_to: makes a channel to the address.
    """

    def __init__(self, address: str, token: str = "", channel_to: Callable[[str], Any] = open_channel) -> None:
        self.address = address
        self._channel_to = channel_to
        self._metadata = metadata_of(token)
        self._channel: grpc.aio.Channel | None = None
        # By path; those of `Read` go over streams.
        self._calls: dict[str, Any] = {}
        # Why the last call failed, "" after one that did not.
        self._trouble = ""

    def open(self) -> None:
        """Begins to connect with the first call; does not wait for the reader."""
        channel = self._channel = self._channel_to(self.address)
        streamed = StreamedCall(_READ_EACH.on(channel.stream_stream), _READ.on(channel.unary_unary))
        self._calls = {_READ.path: streamed}

    async def close(self) -> None:
        """Ends all calls. What is called from now on raises ReaderUnavailable."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def read(self, request: ReadRequest, ends: float) -> ReadReply:
        """The answers to many keys; otherwise as `call`."""
        reply: ReadReply = await self.call(_READ, request, ends)
        return reply

    async def call(self, method: Method, request: Message, ends: float, *, positioned: bool = False) -> Any:
        """The answer of a unary RPC, until `ends` on the loop's clock: all reads can be repeated, so UNAVAILABLE is.

        positioned: the request names a position, which may be refused (PositionRefused).
        """
        now = asyncio.get_running_loop().time
        channel = self._opened()
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = method.on(channel.unary_unary)
        backoff = Backoff(0.05, 0.25)
        while (left := ends - now()) > 0:
            try:
                answer = await call(request, timeout=left, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                pause = backoff.next()
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._trouble = describe(error)
                    if now() + pause < ends:
                        await asyncio.sleep(pause)
                        continue
                raise self._translated(error, method.name, positioned) from error
            except asyncio.CancelledError:
                self._refuse_if_closed()
                raise
            self._trouble = ""
            return answer
        raise self.late()

    async def stream(self, method: Method, request: Message, first_within: float) -> AsyncGenerator[Any]:
        """The answers of a streaming RPC that names a position; the first has to come within so many seconds."""
        call = method.on(self._opened().unary_stream)(request, metadata=self._metadata)
        try:
            try:
                async with asyncio.timeout(first_within):
                    answer = await call.read()
            except TimeoutError as error:
                raise self.late(first_within) from error
            self._trouble = ""
            while answer is not grpc.aio.EOF:
                yield answer
                answer = await call.read()
        except grpc.aio.AioRpcError as error:
            raise self._translated(error, method.name, positioned=True) from error
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise
        finally:
            call.cancel()

    async def is_healthy(self) -> bool:
        """Whether the peer says within a second that it serves; one without a health service counts."""
        return await says_serving(self._opened())

    def late(self, seconds: float | None = None) -> ReaderUnavailable:
        """The error of a read whose time is up."""
        within = "in time" if seconds is None else f"within {seconds:g} s"
        trouble = f": {self._trouble}" if self._trouble else ""
        return ReaderUnavailable(f"the reader at {self.address} did not answer {within}{trouble}")

    def closed(self) -> ReaderUnavailable:
        """The error of a read before the connection is opened or after it is closed."""
        return ReaderUnavailable(f"the connection to the reader at {self.address} is closed")

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise self.closed()
        return self._channel

    def _refuse_if_closed(self) -> None:
        """Closing the channel cancels its calls, which looks as if the caller had been cancelled."""
        task = asyncio.current_task()
        if self._channel is None and task is not None and not task.cancelling():
            raise self.closed()

    def _translated(self, error: grpc.aio.AioRpcError, method: str, positioned: bool) -> ReadError:
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self.late()
        if code in _AWAY:
            return ReaderUnavailable(f"the reader at {self.address} is not available: {describe(error)}")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return ExtensionMissing(f"the reader at {self.address}, or its database, does not know {method}")
        if positioned and code in _POSITION:
            return _POSITION[code](error.details())
        return ReadError(f"the reader at {self.address} failed at {method}: {describe(error)}")
