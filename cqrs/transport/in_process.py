"""Calls to gRPC services of this process: the clients and servicers of the real ones, and neither socket nor thread.

Messages are serialised on the way, so that neither side sees what the other does to them, and limits hold as there.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from types import SimpleNamespace
from typing import Any, Never

import grpc

log = logging.getLogger("cqrs.transport.in_process")

_NOTHING = grpc.aio.Metadata()


class InProcessChannel:
    """What registered servicers need of a grpc.aio.Server, and their clients of a grpc.aio.Channel."""

    def __init__(self) -> None:
        self._services: list[Any] = []

    # As a server.

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._services.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Nothing to do: generated code registers each service by both calls."""

    # As a channel.

    async def close(self) -> None:
        """Nothing to do: there is no connection."""

    def unary_unary(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_options: object
    ) -> Callable[..., Any]:
        async def call(request: Any, *, timeout: float | None = None, **_options: Any) -> Any:
            handler = self._handler(path)
            message = handler.request_deserializer(request_serializer(request))
            try:
                async with asyncio.timeout(timeout) as deadline:
                    answer = await handler.unary_unary(message, _CONTEXT)
            except Exception as error:
                raise _error_of(error, deadline.expired()) from error
            return response_deserializer(handler.response_serializer(answer))

        return call

    def stream_stream(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_options: object
    ) -> Callable[..., Any]:
        """Of a method that answers each request: as if each had a stream of its own."""
        call = self.unary_unary(path.removesuffix("Each"), request_serializer, response_deserializer)
        return lambda **_options: _Stream(call)

    def unary_stream(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_options: object
    ) -> Callable[..., Any]:
        def call(request: Any, **_options: Any) -> _Answers:
            handler = self._handler(path)
            answers = handler.unary_stream(handler.request_deserializer(request_serializer(request)), _CONTEXT)
            return _Answers(answers, lambda answer: response_deserializer(handler.response_serializer(answer)))

        return call

    def _handler(self, path: str) -> Any:
        details = SimpleNamespace(method=path, invocation_metadata=())
        for service in self._services:
            if handler := service.service(details):
                return handler
        raise _error(grpc.StatusCode.UNIMPLEMENTED, f"there is no {path}")


class _Context:
    """What servicers need of a grpc.aio.ServicerContext."""

    async def abort(self, code: grpc.StatusCode, details: str) -> Never:
        raise _error(code, details)


_CONTEXT = _Context()


class _Stream:
    """A stream whose requests are calls."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._request: Any = None

    async def write(self, request: Any) -> None:
        self._request = request

    async def read(self) -> Any:
        return await self._call(self._request)

    def done(self) -> bool:
        return False

    def cancel(self) -> None:
        """Nothing to do: a cancelled `read` has ended its call."""


class _Answers:
    """The stream of answers to one request."""

    def __init__(self, answers: AsyncGenerator[Any], copy: Callable[[Any], Any]) -> None:
        self._answers = answers
        self._copy = copy
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> Any:
        try:
            answer = await anext(self._answers, grpc.aio.EOF)
        except Exception as error:
            raise _error_of(error) from error
        return answer if answer is grpc.aio.EOF else self._copy(answer)

    def cancel(self) -> None:
        self._closing = asyncio.ensure_future(self._answers.aclose())


def _error_of(error: Exception, is_late: bool = False) -> grpc.aio.AioRpcError:
    """The error as its caller would get it from a service elsewhere."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error
    if is_late:
        return _error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    log.error("a call failed", exc_info=error)
    return _error(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")


def _error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, _NOTHING, _NOTHING, details)
