"""Calls whose bytes are not the message of their method: answered, and not taken for a defect of the service."""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Never

import grpc
from google.protobuf.message import DecodeError

log = logging.getLogger("protocol.garbage")

_Context = Any


class GarbageGuard(grpc.aio.ServerInterceptor):
    """Ends calls that cannot be decoded with INVALID_ARGUMENT; gRPC alone answers UNKNOWN and logs a traceback each.

    What is none is said once for each method, so that who sends garbage does not fill the log.
    """

    def __init__(self) -> None:
        self._guarded: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        if (guarded := self._guarded.get(method)) is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        self._guarded[method] = guarded = _guarded(handler, _Decoder(method, handler.request_deserializer))
        return guarded


class _Decoder:
    """Decodes the requests of one method."""

    def __init__(self, method: str, decode: Callable[[bytes], Any]) -> None:
        self._method = method
        self._decode = decode
        self._said = False

    async def decode(self, request: bytes, context: _Context) -> Any:
        try:
            return self._decode(request)
        except DecodeError as error:
            await self._refuse(error, context)

    async def _refuse(self, error: DecodeError, context: _Context) -> Never:
        if not self._said:
            log.warning("garbage came to %s, more of it is refused silently: %s", self._method, error)
            self._said = True
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not the message of this method: {error}")
        raise AssertionError("unreachable")


def _guarded(handler: Any, decoder: _Decoder) -> Any:
    """The handler, taking bytes and decoding them itself."""
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    streams = handler.request_streaming

    def decoded(requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
        async def each() -> AsyncIterator[Any]:
            async for request in requests:
                yield await decoder.decode(request, context)

        return each()

    async def call(request: Any, context: _Context) -> Any:
        message = decoded(request, context) if streams else await decoder.decode(request, context)
        return await behaviour(message, context)

    async def stream(request: Any, context: _Context) -> AsyncIterator[Any]:
        message = decoded(request, context) if streams else await decoder.decode(request, context)
        async with contextlib.aclosing(behaviour(message, context)) as answers:
            async for answer in answers:
                yield answer

    guarded = stream if inspect.isasyncgenfunction(behaviour) else call
    kind = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(streams, handler.response_streaming)]
    return kind(guarded, response_serializer=handler.response_serializer)
