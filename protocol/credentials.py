"""Tokens that keep the sides apart on the wire: a service that has one answers only calls that carry it."""

from __future__ import annotations  # gRPC's handlers are generic in their stubs alone

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc

_KEY = "authorization"

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """gRPC metadata that carries `token`; empty when there is none."""
    return ((_KEY, f"Bearer {token}"),) if token else ()


class TokenGuard(grpc.aio.ServerInterceptor):
    """Refuses calls of a guarded service without its token (UNAUTHENTICATED).

    `tokens`: full service name, for example "protocol.ContactWriter", to its token; an empty token guards nothing.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._expected = {service: f"Bearer {token}" for service, token in tokens.items() if token}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Request, _Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Request, _Response] | None:
        service = handler_call_details.method.rpartition("/")[0].lstrip("/")
        expected = self._expected.get(service)
        handler = await continuation(handler_call_details)
        if expected is None or handler is None:
            return handler
        given = str(dict(handler_call_details.invocation_metadata or ()).get(_KEY, ""))
        if hmac.compare_digest(given.encode(), expected.encode()):
            return handler
        return _refusing(streams=handler.response_streaming, service=service)


def _refusing(*, streams: bool, service: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler that answers UNAUTHENTICATED without looking at the request."""

    async def refuse(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{service} needs its token")

    if streams:
        return grpc.unary_stream_rpc_method_handler(refuse)
    return grpc.unary_unary_rpc_method_handler(refuse)
