"""TCP proxies that stand between two processes and break the traffic through them."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable

from chaos import mqtt
from cqrs.transport.addresses import split_address

_CHUNK = 64 * 1024


class Link:
    """Accepts connections on a free port of 127.0.0.1 and passes each on to `target` ("host:port"), faults aside.

    Where the target cannot be reached, the connection is reset.
    """

    def __init__(self, name: str, target: str) -> None:
        self.name = name
        self.address = ""
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        # Seconds that each read waits before it is passed on.
        self._lateness = 0.0

    async def start(self) -> None:
        """From here on `address` is where it listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Resets open connections and listens no longer."""
        if self._server is not None:
            self._server.close()
        self.heal()
        # Reset, they end by themselves.
        tasks = [connection.task for connection in self._connections]
        self._reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    def inject(self, fault: str, dice: random.Random) -> None:
        """Begins a fault of `schedule.LinkFault`; it lasts until `heal`."""
        if fault == "cut":
            self._refusing = True
            self._reset()
        elif fault == "stall":
            self._flowing.clear()
        elif fault == "slow":
            self._lateness = dice.uniform(0.02, 0.2)
        else:
            raise ValueError(f"{self.name} cannot {fault}")

    def heal(self) -> None:
        """Ends all faults; delayed bytes pass."""
        self._refusing = False
        self._flowing.set()
        self._lateness = 0.0

    async def flow(self) -> None:
        """Waits as long as the present fault delays traffic."""
        if self._lateness:
            await asyncio.sleep(self._lateness)
        await self._flowing.wait()

    def _reset(self) -> None:
        for connection in self._connections:
            connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        try:
            there = await asyncio.open_connection(*split_address(self._target), limit=_CHUNK)
        except OSError:
            _reset(writer)
            return
        connection = self._connection((reader, writer), there)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def _connection(self, here: "Stream", there: "Stream") -> "Connection":
        return Connection(self, here, there)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connection:
    """One connection through a link: two directions, which end together."""

    def __init__(self, link: Link, here: Stream, there: Stream) -> None:
        self._link = link
        self._here, self._there = here, there
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    async def run(self) -> None:
        """Until one end closes or fails; then both are closed."""
        try:
            async with asyncio.TaskGroup() as group:
                ways = [
                    group.create_task(self._pump(self._here[0], self._there[1], self._here[1])),
                    group.create_task(self._pump(self._there[0], self._here[1], self._there[1])),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        except* (OSError, ValueError):
            self.reset()
        finally:
            for _, writer in (self._here, self._there):
                writer.close()

    def reset(self) -> None:
        for _, writer in (self._here, self._there):
            _reset(writer)

    async def _pump(self, source: asyncio.StreamReader, on: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        while chunk := await source.read(_CHUNK):
            await self._link.flow()
            on.write(chunk)
            await on.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that the other side sees an error and not an orderly end."""
    transport = writer.transport
    if not transport.is_closing():
        # On, with no time to linger: the kernel sends RST.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class MqttLink(Link):
    """A link to a broker; it can also garble messages, and reports when its client has subscribed.

    on_subscribed: called at each SUBSCRIBE that passes; a broker that got it delivers.
    """

    # Seconds after which a message held back passes although no other has overtaken it.
    HOLD = 0.25

    def __init__(self, name: str, target: str, on_subscribed: Callable[[], None] = lambda: None) -> None:
        super().__init__(name, target)
        self.on_subscribed = on_subscribed
        self.garbler: mqtt.Garbler | None = None

    def inject(self, fault: str, dice: random.Random) -> None:
        if fault == "garble":
            self.garbler = mqtt.Garbler(dice)
        else:
            super().inject(fault, dice)

    def heal(self) -> None:
        self.garbler = None
        super().heal()

    def _connection(self, here: Stream, there: Stream) -> Connection:
        return _MqttConnection(self, here, there)


class _MqttConnection(Connection):
    _link: MqttLink

    async def _pump(self, source: asyncio.StreamReader, on: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        packets = mqtt.Packets()
        held: list[bytes] = []
        loop = asyncio.get_running_loop()

        def release() -> None:
            on.writelines(held)
            held.clear()

        timer: asyncio.TimerHandle | None = None
        with contextlib.ExitStack() as stack:
            while chunk := await source.read(_CHUNK):
                await self._link.flow()
                for packet in packets.feed(chunk):
                    if mqtt.type_of(packet) == mqtt.SUBSCRIBE:
                        self._link.on_subscribed()
                    if self._link.garbler is None:
                        on.write(packet)
                        continue
                    passed = self._link.garbler.pass_on(packet)
                    on.writelines(passed.on)
                    back.writelines(passed.back)
                    if passed.held and not held:
                        timer = loop.call_later(self._link.HOLD, release)
                        stack.callback(timer.cancel)
                    elif passed.on and held and mqtt.type_of(packet) == mqtt.PUBLISH:
                        release()
                    held += passed.held
                await on.drain()
