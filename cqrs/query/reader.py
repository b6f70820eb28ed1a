"""The reader: hands every call of the read side to the database service and its answer back, as bytes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Never, TypeAlias

import grpc

from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers, StreamedCall
from cqrs.transport.process import stop_signal
from protocol import contact_read_pb2

log = logging.getLogger("cqrs.query.reader")

_SERVICE = contact_read_pb2.DESCRIPTOR.services_by_name["ContactReader"]

# The calls that streams are made of.
_PLAIN = {f"/{_SERVICE.full_name}/ReadEach": f"/{_SERVICE.full_name}/Read"}

_Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


class ReaderServer:
    """Serves `protocol.ContactReader` on `bind` from the database service at `database`.

    What it does not understand it passes on: unknown fields, statuses and their details arrive unchanged, so that a
    database that knows only the contract is recognised through it. UNAVAILABLE while the database is away.
    token, database_token: what callers have to send, and what the database asks for; "": none.
    deadline: seconds that a call, or a request on a stream, may take, less when the caller gives less; streams last
    until either side ends them.
    max_calls: calls under way, streams among them; max_watchers: streams of notices. More get RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        bind: str,
        database: str,
        *,
        token: str = "",
        database_token: str = "",
        deadline: float = 5.0,
        max_calls: int = 1000,
        max_watchers: int = 200,
    ) -> None:
        self._bind, self._database = bind, database
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
            watching = asyncio.create_task(self._tell_of_database(), name="database connection")
            try:
                async with grpc_server(
                    self._bind,
                    self._register,
                    tokens={_SERVICE.full_name: self._token},
                    before_stop=self._end_streams,
                    max_calls=self._max_calls,
                ) as port:
                    yield port
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    def _register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in _SERVICE.methods:
            path = f"/{_SERVICE.full_name}/{method.name}"
            if method.client_streaming:
                each = self._each(
                    StreamedCall(self._channel.stream_stream(path), self._channel.unary_unary(_PLAIN[path]))
                )
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(each)
            elif method.server_streaming:
                stream = self._stream(self._channel.unary_stream(path))
                handlers[method.name] = grpc.unary_stream_rpc_method_handler(stream)
            else:
                call = self._call(self._channel.unary_unary(path))
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(call)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)])

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
                # Cancelled from here: the stream ends well. Otherwise the caller has left.
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

    async def _tell_of_database(self) -> None:
        """Keeps connecting, and says in one line that the database is away, and in one that it is there."""
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
