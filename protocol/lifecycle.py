"""How every service starts, says that it is healthy, waits for others and ends.

On SIGTERM or SIGINT: health turns NOT_SERVING first, then nothing new is accepted, what runs is drained, all is closed.
"""

import asyncio
import contextlib
import gc
import logging
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import cast

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from protocol.credentials import TokenGuard
from protocol.garbage import guard_against_garbage
from protocol.gone import say_who_is_gone_in_a_line
from protocol.guards import GuardedServer

log = logging.getLogger("protocol.lifecycle")

# A gRPC message over this is refused on both ends, in bytes: a batch of 1,000 commands or contacts fits four times.
MAX_MESSAGE = 4 * 1024 * 1024

_SIZES = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]


class StartError(Exception):
    """A service cannot start; the message says why in one line."""


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8888) of "127.0.0.1:8888"; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def spare_collector() -> None:
    """Has Python's garbage collector look at what comes and goes, not again and again at all that was loaded.

    To be called once a service is loaded. Without it, full collections take a quarter of a busy gateway's CPU, and each
    stops it for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run(main: Coroutine[None, None, None]) -> None:
    """Runs a service's main coroutine to its end, on uvloop."""
    spare_collector()
    uvloop.run(main)


async def stop_signal() -> str:
    """Waits for SIGTERM or SIGINT and returns its name."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[str] = loop.create_future()

    def receive(name: str) -> None:
        if not received.done():
            received.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive, number.name)
    try:
        return await received
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Backoff:
    """Pauses that double from `first` to `most` seconds until `reset`, each cut by up to half.

    The cut spreads out those who lost the same peer at the same moment.
    """

    def __init__(self, first: float = 0.1, most: float = 1.0) -> None:
        self._first, self._most = first, most
        self._pause = first

    def reset(self) -> None:
        """The next pause is the first again."""
        self._pause = self._first

    def next(self) -> float:
        """The next pause, in seconds."""
        pause = self._pause
        self._pause = min(self._most, 2 * pause)
        return random.uniform(pause / 2, pause)

    async def pause(self) -> None:
        """Waits for the next pause."""
        await asyncio.sleep(self.next())


async def keep(
    session: Callable[[Callable[[], None]], Awaitable[None]],
    *,
    what: str,
    errors: tuple[type[BaseException], ...],
    first: float = 0.1,
    most: float = 1.0,
) -> None:
    """Runs `session` again, with backoff, whenever it ends or fails with one of `errors`; ends when cancelled.

    `session` gets a function to call once it is connected: that ends the outage. An outage is said in one line
    when it begins ("waiting for <what>: <why>") and in one when it ends.
    """
    backoff = Backoff(first, most)
    waiting = False

    def connected() -> None:
        nonlocal waiting
        backoff.reset()
        if waiting:
            log.info("connected to %s", what)
        waiting = False

    while True:
        try:
            await session(connected)
            reason = "it closed the connection"
        except errors as error:
            reason = describe(error)
        if not waiting:
            log.warning("waiting for %s: %s", what, reason)
            waiting = True
        await backoff.pause()


def describe(error: BaseException) -> str:
    """One line for an error of gRPC, MQTT or the system."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return " ".join(str(error).split()) or type(error).__name__


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to a service of ours or a foreign one; belongs to the running event loop.

    Reconnects within 100 to 500 ms. A peer that is frozen is noticed within 15 s while a call is under way.
    """
    return grpc.aio.insecure_channel(
        address,
        options=[
            *_SIZES,
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 5_000),
            # Or an idle stream stops asking after two pings, and a frozen peer is not noticed.
            ("grpc.http2.max_pings_without_data", 0),
        ],
    )


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
    Raises StartError when the address cannot be had.
    """
    say_who_is_gone_in_a_line()
    server = grpc.aio.server(
        maximum_concurrent_rpcs=max_calls,
        options=[
            *_SIZES,
            # Without this a second process shares the port silently and takes half of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    # The token first: who has none is told nothing about what it sent.
    guarded = cast(grpc.aio.Server, GuardedServer(server, [guard_against_garbage, TokenGuard(tokens)]))
    register(guarded)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, guarded)
    names = (*tokens, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), guarded)
    try:
        split_address(bind)
        port = server.add_insecure_port(bind)
    except ValueError as error:
        raise StartError(f"cannot listen on {bind}: it must be host:port, for example 127.0.0.1:8888") from error
    except RuntimeError as error:
        raise StartError(f"cannot listen on {bind}: is the port in use?") from error
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
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=within
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
