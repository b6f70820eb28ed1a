"""The whole ring in one process: gateway, delay, apply and notices, with neither broker nor sockets between them.

The parts are those of the services, and what one promises the other is kept the same way: the journal sends again what
a process had taken and not brought to its end, and the store knows what it has done.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from cqrs.background import Background, end_process
from cqrs.conf import Settings
from cqrs.gateway import Gateway
from cqrs.journal.clock import Clock
from cqrs.query.client import ReadClient
from cqrs.store.services import StoreServices
from cqrs.transport.codec import NoContract
from cqrs.transport.in_process import InProcessChannel
from cqrs.transport.in_process_broker import InProcessBroker
from cqrs.transport.link import Link
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.writer import Writer

PLACE = "this process"
"""The address of the parts in what they say of each other."""


class Ring:
    """A gateway with its writer and its store, open within `async with`, which gives the gateway.

    Several processes may each have one, on the same databases. broker: hands the commands on, within the process.
    on_crash: called when a task fails, which is a defect.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        broker: InProcessBroker | None = None,
        clock: Clock = Clock(),  # noqa: B008  # immutable
        on_crash: Callable[[], None] = end_process,
    ) -> None:
        # The writer is ours.
        self._settings = dataclasses.replace(settings, single_messages=False)
        self._clock = clock
        self._on_crash = on_crash
        self._connect = (broker or InProcessBroker()).connect
        self._store = StoreServices(keep=timedelta(days=settings.keep_notices_days))
        self._channel = InProcessChannel()
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Gateway:
        """Raises StartError when the store's database is not what it has to be."""
        async with contextlib.AsyncExitStack() as opened:
            await self._start_store(opened)
            gateway = Gateway(
                self._settings,
                reader=self._reader(),
                connect=self._connect,
                codec=NoContract(),
                clock=self._clock,
                on_crash=self._on_crash,
            )
            await opened.enter_async_context(gateway)
            gateway.others["writer"] = self._start_writer(opened)
            self._closing = opened.pop_all()
        return gateway

    async def __aexit__(self, *_exception: object) -> None:
        """Ends the transaction under way; what waits is in the journal."""
        await self._closing.aclose()

    @contextlib.asynccontextmanager
    async def without_gateway(self) -> AsyncIterator[tuple[ReadClient, Link]]:
        """The reader of the ring, and a link by which to send it commands, to be run. Raises StartError."""
        async with contextlib.AsyncExitStack() as opened:
            await self._start_store(opened)
            self._start_writer(opened)
            reader = await opened.enter_async_context(self._reader())
            yield reader, self._connect(topics=(), on_message=lambda _topic, _payload: None, on_connect=lambda: None)

    def _reader(self) -> ReadClient:
        return ReadClient(PLACE, channel_to=self._channel_to)

    async def _start_store(self, opened: contextlib.AsyncExitStack) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        background = Background("ring", self._on_crash)
        opened.push_async_callback(background.end)
        task = asyncio.create_task(self._serve_store(ready), name="ring store")
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task  # raises
        background.watch(task)

    async def _serve_store(self, ready: asyncio.Future[None]) -> None:
        async with self._store.working():
            self._store.register(self._channel)
            ready.set_result(None)
            await asyncio.Event().wait()

    def _start_writer(self, opened: contextlib.AsyncExitStack) -> Callable[[], str]:
        writer = Writer(
            WriteClient(PLACE, channel_to=self._channel_to),
            self._connect,
            NoContract(),
            delay=self._settings.delay,
            limit=self._settings.writer_limit,
            now=self._clock.monotonic,
        )
        stop = asyncio.Event()
        background = Background("ring", self._on_crash)
        opened.push_async_callback(background.end)
        background.start("writer", writer.run(stop.wait()), stop=stop)
        return lambda: writer.trouble

    def _channel_to(self, _address: str) -> InProcessChannel:
        return self._channel
