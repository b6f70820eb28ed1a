"""Tokens that keep the sides apart on the wire: a service that has one answers only calls that carry it."""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Never, TypeAlias

import grpc

_KEY = "authorization"

Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """gRPC metadata that carries `token`; empty when there is none."""
    return ((_KEY, f"Bearer {token}"),) if token else ()


class TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses calls of a service without its token (UNAUTHENTICATED), without looking at the request.

    tokens: full service name, for example "cqrs.WriteService", to its token; with an empty one all calls pass.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._expected = {service: f"Bearer {token}".encode() for service, token in tokens.items() if token}

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        service = handler_call_details.method.rpartition("/")[0].lstrip("/")
        expected = self._expected.get(service)
        if expected is not None:
            given = str(dict(handler_call_details.invocation_metadata or ()).get(_KEY, ""))
            if not hmac.compare_digest(given.encode(), expected):
                return _refusal(f"{service} needs its token")
        return await continuation(handler_call_details)


def _refusal(details: str) -> Any:
    async def refuse(_requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Never:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, details)
        raise AssertionError("unreachable")

    # Of streams, whatever the method is: this one waits for no request.
    return grpc.stream_stream_rpc_method_handler(refuse)
