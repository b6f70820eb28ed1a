"""Channels to gRPC services."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Both ends refuse a larger gRPC message, in bytes.
MAX_MESSAGE = 4 * 1024 * 1024

SIZES = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to a service; belongs to the running event loop.

    Reconnects within 100 to 500 ms; a peer that comes back at another address of its name is found within 5 s. A peer
    that is frozen is noticed within 15 s while a call is under way. The environment's proxies, which are for the web,
    divert nothing.
    """
    return grpc.aio.insecure_channel(
        address,
        options=[
            *SIZES,
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.enable_http_proxy", 0),
            # Otherwise a name is looked up again only after 30 s.
            ("grpc.dns_min_time_between_resolutions_ms", 1_000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 5_000),
            # Or an idle stream stops asking after two pings, and a frozen peer is not noticed.
            ("grpc.http2.max_pings_without_data", 0),
        ],
    )


async def says_serving(channel: Any, service: str = "", *, within: float = 1.0) -> bool:
    """Whether the peer says SERVING of the service in so many seconds; one without a health service counts."""
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=within
        )
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNIMPLEMENTED
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
