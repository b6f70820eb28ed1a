"""One connection to a reader: every call with its deadline, asked again while the reader is away, errors translated."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

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
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.persistent_calls import StreamedCall
from protocol.contact_read_pb2_grpc import ContactReaderStub

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


class Connection:
    """Calls the `ContactReader` at `address`; opened and closed on one event loop, which its channel belongs to."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self._metadata = metadata_of(token)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        # Why the last call failed, "" after one that did not.
        self._trouble = ""

    def open(self) -> None:
        """Begins to connect with the first call; does not wait for the reader."""
        self._channel = open_channel(self.address)
        self._stub = ContactReaderStub(self._channel)
        self._stub.Read = StreamedCall(self._stub.ReadEach, self._stub.Read)

    async def close(self) -> None:
        """Ends all calls. What is called from now on raises ReaderUnavailable."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def call(self, method: str, request: Any, ends: float, *, positioned: bool = False) -> Any:
        """The answer of a unary RPC, until `ends` on the loop's clock: all reads can be repeated, so UNAVAILABLE is.

        positioned: the request names a position, which may be refused (PositionRefused).
        """
        now = asyncio.get_running_loop().time
        rpc = getattr(self._opened(), method)
        backoff = Backoff(0.05, 0.25)
        while (left := ends - now()) > 0:
            try:
                answer = await rpc(request, timeout=left, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                pause = backoff.next()
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._trouble = describe(error)
                    if now() + pause < ends:
                        await asyncio.sleep(pause)
                        continue
                raise self._translated(error, method, positioned) from error
            except asyncio.CancelledError:
                self._refuse_if_closed()
                raise
            self._trouble = ""
            return answer
        raise self.late()

    async def stream(self, method: str, request: Any, first_within: float) -> AsyncGenerator[Any]:
        """The answers of a streaming RPC that names a position; the first has to come within so many seconds."""
        call = getattr(self._opened(), method)(request, metadata=self._metadata)
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
            raise self._translated(error, method, positioned=True) from error
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise
        finally:
            call.cancel()

    def late(self, seconds: float | None = None) -> ReaderUnavailable:
        """The error of a read whose time is up."""
        within = "in time" if seconds is None else f"within {seconds:g} s"
        trouble = f": {self._trouble}" if self._trouble else ""
        return ReaderUnavailable(f"the reader at {self.address} did not answer {within}{trouble}")

    def closed(self) -> ReaderUnavailable:
        """The error of a read before the connection is opened or after it is closed."""
        return ReaderUnavailable(f"the connection to the reader at {self.address} is closed")

    def _opened(self) -> Any:
        if self._channel is None:
            raise self.closed()
        return self._stub

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
