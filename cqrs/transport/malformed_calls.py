"""Calls whose bytes are not the message of their method: answered, and not taken for a defect of the service."""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Never

import grpc
from google.protobuf.message import DecodeError

from cqrs.transport.handlers import Context, Handler, preceded

log = logging.getLogger("cqrs.transport.malformed_calls")


def guard_against_garbage(method: str, handler: Handler) -> Handler:
    """Ends calls that cannot be decoded with INVALID_ARGUMENT; gRPC alone answers UNKNOWN and logs a traceback each.

    What is none is said once for each method, so that who sends garbage does not fill the log.
    """
    if handler.request_deserializer is None:
        return handler
    decoder = _Decoder(method, handler.request_deserializer)
    return preceded(handler, decoder.decode_each if handler.request_streaming else decoder.decode)


class _Decoder:
    """Decodes the requests of one method."""

    def __init__(self, method: str, decode: Callable[[bytes], Any]) -> None:
        self._method = method
        self._decode = decode
        self._said = False

    async def decode(self, request: bytes, context: Context) -> Any:
        try:
            return self._decode(request)
        except DecodeError as error:
            await self._refuse(error, context)

    async def decode_each(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async def each() -> AsyncIterator[Any]:
            async for request in requests:
                yield await self.decode(request, context)

        return each()

    async def _refuse(self, error: DecodeError, context: Context) -> Never:
        if not self._said:
            log.warning("garbage came to %s, more of it is refused silently: %s", self._method, error)
            self._said = True
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not the message of this method: {error}")
        raise AssertionError("unreachable")
