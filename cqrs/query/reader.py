"""The reader: hands every call of the read side to the database service and its answer back, as bytes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Never, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers, StreamedCall
from cqrs.transport.process import stop_signal
from protocol import cqrs_read_pb2

log = logging.getLogger("cqrs.query.reader")

SERVICE = cqrs_read_pb2.DESCRIPTOR.services_by_name["ReadService"]

_Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


class ReaderServer:
    """Serves `cqrs.ReadService` on `bind` from the database service at `database`.

    Messages, statuses and their details pass unchanged, so that a database that knows only a contract is recognised
    through the reader. UNAVAILABLE while the database is away.
    contracts: services of contracts that are served besides.
    token, database_token: the token that callers have to send, and the one that the database asks for; "": none.
    deadline: seconds that a call, or a request on a stream, may take, less when the caller gives less; streams last
    until either side ends them.
    max_calls: calls under way, streams among them; max_watchers: streams of notices. More get RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        bind: str,
        database: str,
        *,
        contracts: Sequence[ServiceDescriptor] = (),
        token: str = "",
        database_token: str = "",
        deadline: float = 5.0,
        max_calls: int = 1000,
        max_watchers: int = 200,
    ) -> None:
        self._bind, self._database = bind, database
        self._services = (SERVICE, *contracts)
        self._token = token
        self._metadata = metadata_of(database_token)
        self._deadline = deadline
        self._max_calls, self._max_watchers = max_calls, max_watchers
        self._watches: set[grpc.aio.UnaryStreamCall[bytes, bytes]] = set()
        self._answers = StreamedAnswers()
        self._is_stopping = False

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT. Raises StartError when it cannot listen."""
        async with self.serving() as port:
            host = self._bind.rpartition(":")[0]
            log.info("the reader listens on %s:%d and reads from %s", host, port, self._database)
            log.info("%s: the reader stops", await stop_signal())

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serves within the context, and yields the port."""
        async with open_channel(self._database) as self._channel:
            watching = asyncio.create_task(self._log_connection(), name="database connection")
            try:
                async with grpc_server(
                    self._bind,
                    self._register,
                    tokens={service.full_name: self._token for service in self._services},
                    before_stop=self._end_streams,
                    max_calls=self._max_calls,
                ) as port:
                    yield port
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    def _register(self, server: grpc.aio.Server) -> None:
        for service in self._services:
            handlers = {method.name: self._handler(f"/{service.full_name}/", method) for method in service.methods}
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, handlers)])

    def _handler(self, service: str, method: MethodDescriptor) -> Any:
        channel, path = self._channel, service + method.name
        if method.client_streaming:
            # `ReadEach` is a stream of `Read`.
            plain: Any = channel.unary_unary(path.removesuffix("Each"))
            return grpc.stream_stream_rpc_method_handler(self._each(StreamedCall(channel.stream_stream(path), plain)))
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(channel.unary_stream(path)))
        return grpc.unary_unary_rpc_method_handler(self._call(channel.unary_unary(path)))

    def _call(self, database: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> Any:
        async def call(request: bytes, context: _Context) -> bytes:
            given: float | None = context.time_remaining()
            timeout = self._deadline if given is None else min(given, self._deadline)
            try:
                return await database(request, timeout=timeout, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                await self._abort(error, context)

        return call

    def _each(self, database: StreamedCall) -> Any:
        async def answer(request: bytes) -> Any:
            return await database(request, timeout=self._deadline, metadata=self._metadata)

        async def each(requests: AsyncIterator[bytes], context: _Context) -> None:
            try:
                await self._answers.serve(requests, context, answer)
            except grpc.aio.AioRpcError as error:
                await self._abort(error, context)

        return each

    def _stream(self, database: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]) -> Any:
        async def stream(request: bytes, context: _Context) -> None:
            if len(self._watches) >= self._max_watchers:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._max_watchers} watch already")
            watch = database(request, metadata=self._metadata)
            self._watches.add(watch)
            try:
                async for message in watch:
                    await context.write(message)
            except grpc.aio.AioRpcError as error:
                await self._abort(error, context)
            except asyncio.CancelledError:
                # Cancelled by this server, the stream ends well; otherwise the caller has left.
                if not self._is_stopping:
                    raise
            finally:
                watch.cancel()
                self._watches.discard(watch)

        return stream

    async def _abort(self, error: grpc.aio.AioRpcError, context: _Context) -> Never:
        """Ends the call as the database did, or says that the database is away."""
        details = error.details() or ""
        is_away = self._channel.get_state() is not grpc.ChannelConnectivity.READY
        if error.code() is grpc.StatusCode.UNAVAILABLE and is_away:
            details = f"the database service at {self._database} is away"
        await context.abort(error.code(), details)

    def _end_streams(self) -> None:
        self._is_stopping = True
        self._answers.stop()
        for watch in self._watches:
            watch.cancel()

    async def _log_connection(self) -> None:
        """Keeps connecting, and logs each loss and each return of the database in one line."""
        is_there: bool | None = None
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY and is_there is not True:
                log.info("connected to the database service at %s", self._database)
                is_there = True
            elif state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and is_there is not False:
                log.warning("waiting for the database service at %s", self._database)
                is_there = False
            await self._channel.wait_for_state_change(state)
