"""Guards around the methods of a gRPC server, put there when they are registered.

Reason: gRPC runs interceptors with each call, and waits for calls of each registered method apart, so that a call costs
more the more methods there are. Gain: of a call that costs the server 300 µs of CPU, 30.
The plain path: `grpc.aio.ServerInterceptor`.
"""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = Any
Context: TypeAlias = Any
# Of the path of a method ("/protocol.ContactReader/Read") and its handler: the handler that calls get.
Guard: TypeAlias = Callable[[str, Handler], Handler]
# Of a request (one, or an iterator over them, as it came) and its context: the request that the handler gets.
Before: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


class GuardedServer:
    """Servicers are added to it in the place of `server`: it puts guards around their methods, the last outermost."""

    def __init__(self, server: grpc.aio.Server, guards: Sequence[Guard]) -> None:
        self._server = server
        self._guards = guards

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers([_Guarded(each, self._guards) for each in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Does nothing: generated code adds the same methods as generic handlers too, which cost less."""


class _Guarded(grpc.GenericRpcHandler):
    """Handlers with guards around them, each made at the first call."""

    def __init__(self, handlers: grpc.GenericRpcHandler, guards: Sequence[Guard]) -> None:
        self._handlers = handlers
        self._guards = guards
        # Of methods that there are, so it is bounded.
        self._guarded: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        method = handler_call_details.method
        if (guarded := self._guarded.get(method)) is not None:
            return guarded
        handler: Handler | None = self._handlers.service(handler_call_details)
        if handler is None:
            return None
        for guard in self._guards:
            handler = guard(method, handler)
        self._guarded[method] = handler
        return handler


def preceded(handler: Handler, before: Before, deserializer: Callable[[bytes], Any] | None = None) -> Handler:
    """The handler, to which `before` hands the requests on, or does not.

    deserializer: makes of bytes what `before` gets; None: it gets the bytes.
    """
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def call(request: Any, context: Context) -> Any:
        return await behaviour(await before(request, context), context)

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        async with contextlib.aclosing(behaviour(await before(request, context), context)) as answers:
            async for answer in answers:
                yield answer

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(handler.request_streaming, handler.response_streaming)]
    guarded = stream if inspect.isasyncgenfunction(behaviour) else call
    return make(guarded, request_deserializer=deserializer, response_serializer=handler.response_serializer)
