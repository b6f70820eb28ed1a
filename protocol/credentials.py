"""Tokens that keep the sides apart on the wire: a service that has one answers only calls that carry it."""

import hmac
from collections.abc import Awaitable, Callable, Mapping

import grpc

_KEY = "authorization"


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
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        service = handler_call_details.method.rpartition("/")[0].lstrip("/")
        expected = self._expected.get(service)
        handler = await continuation(handler_call_details)
        if expected is None or handler is None:
            return handler
        given = str(dict(handler_call_details.invocation_metadata or ()).get(_KEY, ""))
        if hmac.compare_digest(given.encode(), expected.encode()):
            return handler
        return _refusing(handler, service)


def _refusing(handler: grpc.RpcMethodHandler, service: str) -> grpc.RpcMethodHandler:
    """A handler of the same shape that answers UNAUTHENTICATED."""
    details = f"{service} needs its token"

    async def refuse(_request: object, context: grpc.aio.ServicerContext) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, details)

    async def refuse_stream(_request: object, context: grpc.aio.ServicerContext):  # type: ignore[no-untyped-def]
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, details)
        yield

    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(
            refuse_stream, handler.request_deserializer, handler.response_serializer
        )
    return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)
