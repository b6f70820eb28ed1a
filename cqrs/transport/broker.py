"""The embedded broker: amqtt with only what the ring needs. The only importer of amqtt.

Any other MQTT 3.1.1 broker does as well: what a broker loses the journal sends again.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
from dataclasses import dataclass
from typing import Self

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker as AmqttBroker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from cqrs.transport.addresses import CannotListen, split_address
from protocol.topics import MAX_PAYLOAD

log = logging.getLogger("cqrs.transport.broker")

# A packet over this ends its connection, in bytes: a full payload, its topic and header.
MAX_PACKET = MAX_PAYLOAD + 70_000
# Seconds in which a new connection has to say who it is, and in which a client has to take what is sent to it.
PATIENCE = 10.0
# Connections at once; more are closed.
MAX_CONNECTIONS = 1_000

# Seconds that the connections have to end, and then the broker.
GRACE = 2.0

_LISTENER = "default"

# It says every message that a subscriber did not take before it left, each with a traceback.
_TALKATIVE = ("amqtt.broker", "amqtt.mqtt.protocol.handler")


class Broker:
    """An MQTT 3.1.1 broker on `bind` ("host:port"; port 0: a free one) within its `async with`.

    username, password: the one pair that is let in; empty: anyone is.
    Raises CannotListen when the address cannot be had.
    """

    def __init__(self, bind: str, *, username: str = "", password: str = "") -> None:
        self._bind = bind
        self._plugins = _plugins(username, password)
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def address(self) -> str:
        """Where it listens, "host:port"."""
        host, _ = split_address(self._bind)
        port = self._server.sockets[0].getsockname()[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aenter__(self) -> Self:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # We listen ourselves, and hand amqtt connections that have limits: its own listener has none.
        listeners = {_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)}
        self._broker = AmqttBroker(BrokerConfig(listeners=listeners, plugins=self._plugins))
        await self._broker.start()
        host, port = split_address(self._bind)
        try:
            self._server = await asyncio.start_server(self._accept, host, port)
        except OSError as error:
            await self._broker.shutdown()
            raise CannotListen(self._bind, error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        # The connections first: where one is open and busy, amqtt waits for ever for its reader to be cancelled.
        for writer in self._connections.values():
            writer.transport.abort()
        tasks = list(self._connections)
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        try:
            async with asyncio.timeout(GRACE):
                await self._broker.shutdown()
        except TimeoutError:
            log.warning("did not end in order within %g s", GRACE)
        for task in tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[task] = writer
        # A peer that vanished without a word is noticed by the system.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            await self._broker.external_connected(_Reader(reader, writer), _Writer(writer), _LISTENER)
        except (OSError, asyncio.CancelledError):
            pass  # the client or the broker is going: nothing to say
        finally:
            del self._connections[task]
            writer.transport.abort()


class _Reader(StreamReaderAdapter):
    """Reads no packet over MAX_PACKET, and does not wait for ever for the first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader)
        self._writer = writer
        self._greeted = False
        self._refused = False

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET:
            log.warning("closing a connection from %s: a packet of %d bytes", _peer(self._writer), n)
            self._refuse()
        if self._refused:
            # amqtt takes this for the end of the stream, and reads on where this is not the beginning of a packet.
            raise ConnectionResetError
        if self._greeted:
            return bytes(await super().read(n))
        try:
            async with asyncio.timeout(PATIENCE):
                data = bytes(await super().read(n))
        except TimeoutError:
            self._refuse()
            raise ConnectionResetError from None
        self._greeted = True
        return data

    def _refuse(self) -> None:
        self._refused = True
        self._writer.transport.abort()


class _Writer(StreamWriterAdapter):
    """Drops a client that takes nothing of what is sent to it: what waits for it would pile up."""

    def write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionResetError  # amqtt expects this; uvloop raises something else
        super().write(data)

    async def drain(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await super().drain()
        except TimeoutError:
            log.warning("closing the connection to %s: it reads nothing", _peer(self._writer))
            self._writer.transport.abort()
            raise ConnectionResetError from None

    async def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await super().close()
        self._writer.transport.abort()


def _peer(writer: asyncio.StreamWriter) -> str:
    host, port = writer.get_extra_info("peername", ("nowhere", 0))[:2]
    return f"{host}:{port}"


def _plugins(username: str, password: str) -> dict[str, dict[str, object]]:
    if username:
        return {f"{__name__}.PasswordPlugin": {"username": username, "password": password}}
    return {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class PasswordPlugin(BaseAuthPlugin):
    """Lets in who brings the one user name and password."""

    async def authenticate(self, *, session: Session) -> bool:
        wanted = f"{self.config.username}\0{self.config.password}"
        given = f"{session.username}\0{session.password}"
        return hmac.compare_digest(wanted.encode(), given.encode())

    @dataclass
    class Config:
        """The pair, as amqtt hands it on."""

        username: str
        password: str
