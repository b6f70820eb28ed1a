"""A gRPC server with health, reflection and tokens.

On SIGTERM or SIGINT: health turns NOT_SERVING first, then nothing new is accepted, what runs is drained, all is closed.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from cqrs.transport.addresses import CannotListen, check_free
from cqrs.transport.credentials import TokenCheck
from cqrs.transport.disconnects import log_disconnects_in_a_line
from cqrs.transport.grpc_channel import SIZES, open_channel, says_serving
from cqrs.transport.malformed_calls import MalformedCalls


@contextlib.asynccontextmanager
async def grpc_server(
    bind: str,
    register: Callable[[grpc.aio.Server], None],
    *,
    tokens: Mapping[str, str],
    before_stop: Callable[[], None] = lambda: None,
    max_calls: int = 1000,
    grace: float = 5.0,
) -> AsyncIterator[int]:
    """Serves on `bind` ("host:port"; port 0: a free one) within the context, and yields the port.

    register: adds the servicers. tokens: full name of each service registered to its token (empty: open).
    before_stop: called after health turned NOT_SERVING, to end what would not end by itself (streams).
    max_calls: calls at once, more get RESOURCE_EXHAUSTED. grace: seconds that running calls have on the way out.
    Raises CannotListen when the address cannot be had.
    """
    log_disconnects_in_a_line()
    server = grpc.aio.server(
        # The token first: a caller without it learns nothing about its request.
        interceptors=[TokenCheck(tokens), MalformedCalls()],
        maximum_concurrent_rpcs=max_calls,
        options=[
            *SIZES,
            # Without this a second process shares the port silently and takes half of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    register(server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = (*tokens, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), server)
    try:
        # gRPC does not say why it cannot listen; this does.
        check_free(bind)
        port = server.add_insecure_port(bind)
    except ValueError as error:
        raise CannotListen(bind, "it must be host:port, for example 127.0.0.1:8888") from error
    except RuntimeError as error:
        raise CannotListen(bind, "is the port in use?") from error
    await server.start()
    for service in ("", *tokens):
        await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield port
    finally:
        await checks.enter_graceful_shutdown()
        before_stop()
        await server.stop(grace)


async def is_healthy(address: str, service: str = "", *, within: float = 1.0) -> bool:
    """Whether the gRPC service at `address` says SERVING in so many seconds; one without a health service counts."""
    async with open_channel(address) as channel:
        return await says_serving(channel, service, within=within)
