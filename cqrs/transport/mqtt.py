"""One connection to the broker, kept up. The only importer of the MQTT client."""

import asyncio
import contextlib
import inspect
import logging
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import aiomqtt
from paho.mqtt.client import Client as PahoClient

from cqrs.journal.errors import BrokerAway
from cqrs.transport.addresses import split_address
from cqrs.transport.backoff import describe, keep

# Seconds without a word after which the broker is asked, and after as many again given up: a frozen one is noticed.
KEEPALIVE = 5
# Seconds that connecting, subscribing and an acknowledgement may take.
DEADLINE = 5.0
# Messages that may wait for their acknowledgement. The client's own default sends 20 and silently queues the rest.
MAX_IN_FLIGHT = 10_000

# What the client has to say we say ourselves, once.
_log = logging.getLogger("cqrs.transport.mqtt.client")
_log.setLevel(logging.CRITICAL)

# The return code for a topic that the broker does not let us have (MQTT 3.1.1, 3.9.3).
_REFUSED = 0x80
_UNNAMED = 0x80


def ignore(topic: str, payload: bytes) -> None:
    """Takes a message and does nothing with it."""


async def nothing() -> None:
    """Does nothing."""


class MqttLink:
    """A connection to an MQTT 3.1.1 broker that is opened again, with backoff, whenever it is lost.

    Every connection has a client and a client id of its own: an acknowledgement counts only where it was asked for, and
    two processes of one name never throw each other out. The session is clean: what the broker had for us when the
    connection was lost is lost, and who sent it has to notice.

    address: "host:port". name: what the client id begins with.
    topics: subscribed at QoS 1, at every connection.
    on_message: gets topic and payload of each message, of whatever size, in the event loop; must be quick.
    What it raises ends `run`.
    on_connect: called (and awaited) once subscribed, at every connection; may publish.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str,
        topics: Sequence[str] = (),
        on_message: Callable[[str, bytes], None] = ignore,
        on_connect: Callable[[], Awaitable[None] | None] = nothing,
        username: str = "",
        password: str = "",
    ) -> None:
        self._address = address
        self._name = name
        self._topics = topics
        self._on_message = on_message
        self._on_connect = on_connect
        self._username = username
        self._password = password
        self._client: aiomqtt.Client | None = None
        # One for each publish that waits: moved to now when the connection is lost, which ends the wait.
        self._deadlines: set[asyncio.Timeout] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, subscribed to what there is to subscribe."""
        return self._client is not None

    async def run(self) -> None:
        """Keeps the connection up until cancelled; an outage is said in one line when it begins and when it ends."""
        await keep(
            self._session, what=f"the broker at {self._address}", errors=(aiomqtt.MqttError, BrokerAway, OSError)
        )

    async def publish(self, topic: str, payload: bytes) -> None:
        """Sends at QoS 1 and returns once the broker has acknowledged on this very connection.

        Raises BrokerAway when there is no connection, when it is lost meanwhile, or after 5 s without acknowledgement;
        the message may have arrived all the same.
        """
        client = self._client
        if client is None:
            raise BrokerAway(f"not connected to the broker at {self._address}")
        try:
            async with asyncio.timeout(DEADLINE) as deadline:
                self._deadlines.add(deadline)
                try:
                    # Our timeout is the only one: the client's own would cost a task for each message.
                    await client.publish(topic, payload, qos=1, timeout=float("inf"))
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            reason = (
                f"no acknowledgement within {DEADLINE:g} s" if self._client is client else "the connection was lost"
            )
            raise BrokerAway(f"{reason} (broker at {self._address})") from None
        except aiomqtt.MqttError as error:
            raise BrokerAway(f"{describe(error)} (broker at {self._address})") from error

    async def _session(self, connected: Callable[[], None]) -> None:
        """One connection, from connecting to its end."""
        host, port = split_address(self._address)
        client = _Client(
            host,
            port,
            identifier=f"{self._name}-{secrets.token_hex(3)}",
            username=self._username or None,
            password=self._password or None,
            clean_session=True,
            keepalive=KEEPALIVE,
            timeout=DEADLINE,
            max_inflight_messages=MAX_IN_FLIGHT,
            max_queued_outgoing_messages=MAX_IN_FLIGHT,
            queue_type=partial(_Handing, self._on_message),  # type: ignore[arg-type]
            # Without it a small message waits up to 40 ms for the acknowledgement of the one before.
            logger=_log,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        client.pending_calls_threshold = sys.maxsize  # else each publish beyond 10 at once is a warning
        await client.enter()
        try:
            await self._subscribe(client)
            self._client = client
            lost = asyncio.create_task(self._wait_until_lost(client), name=f"{self._name} connection")
            try:
                result = self._on_connect()
                if inspect.isawaitable(result):
                    await result
                connected()
                await lost
            finally:
                lost.cancel()
        finally:
            self._forget()
            await client.leave()

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        if not self._topics:
            return
        codes = await client.subscribe([(topic, 1) for topic in self._topics])
        refused = [topic for topic, code in zip(self._topics, codes, strict=True) if _code(code) >= _REFUSED]
        if refused:
            raise aiomqtt.MqttError(f"it refuses the topics {', '.join(refused)}")

    async def _wait_until_lost(self, client: aiomqtt.Client) -> None:
        """Ends with an error when the connection ends, and every publish that waits with it."""
        try:
            # Messages do not come this way (see _Handing), so this yields nothing and waits.
            async for _ in client.messages:
                pass
        except aiomqtt.MqttError as error:
            cause = error.__cause__
            if isinstance(cause, Exception) and not isinstance(cause, aiomqtt.MqttError | OSError):
                raise cause from None  # a defect in on_message: the client takes it for a lost connection
            # 128 is what the client calls every end that it has no name for.
            unnamed = isinstance(cause, aiomqtt.MqttCodeError) and cause.rc == _UNNAMED
            raise aiomqtt.MqttError("the connection was lost" if unnamed else describe(cause or error)) from cause
        finally:
            self._forget()

    def _forget(self) -> None:
        self._client = None
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)
        self._deadlines.clear()


class _Client(aiomqtt.Client):
    """The client without its races at the begin and at the end of a connection.

    It overrides private methods: checked with aiomqtt 2.5, to whose minor version requirements.txt pins it.
    """

    async def enter(self) -> None:
        """Connects. Cancelled halfway, the client would keep its socket open and alive: so it connects, then leaves."""
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            with contextlib.suppress(aiomqtt.MqttError):
                await entering
                await self.leave()
            raise

    async def leave(self) -> None:
        """Disconnects, if there is something to disconnect from."""
        with contextlib.suppress(aiomqtt.MqttError):
            await self.__aexit__(None, None, None)
        if self._disconnected.done():
            self._disconnected.exception()  # seen: otherwise asyncio complains that nobody looked at it

    # aiomqtt waits for the broker to accept the connection to the deadline, also when the connection has ended by then
    # (what stands in front of a broker that is away ends it at once).

    def _on_disconnect(
        self, client: PahoClient, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        # Called in the thread that connects, too.
        self._loop.call_soon_threadsafe(self._end_connecting)
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _end_connecting(self) -> None:
        # Locked: someone enters, and will look at it.
        if self._lock.locked() and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the connection was lost"))

    # aiomqtt registers the socket for writing a moment after it is asked to. When the connection is lost in that moment
    # (as at every other kill of a broker under load), it registers a closed socket, or whatever has its number by then.

    def _on_socket_register_write(self, client: PahoClient, userdata: object, sock: socket.socket) -> None:
        # Called in the thread that connects, too.
        self._loop.call_soon_threadsafe(self._write_when_ready, client, sock)

    def _write_when_ready(self, client: PahoClient, sock: socket.socket) -> None:
        if sock.fileno() < 0:
            return
        try:
            self._loop.add_writer(sock.fileno(), client.loop_write)
        except (OSError, RuntimeError):  # uvloop's for a connection that is being lost
            client.loop_write()  # finds that out, and ends it in order


class _Handing(asyncio.Queue[aiomqtt.Message]):
    """Takes the place of the client's queue and hands each message on at once.

    The client's own way creates and waits for a task for each message.
    """

    def __init__(self, on_message: Callable[[str, bytes], None], maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._hand = on_message

    def put_nowait(self, item: aiomqtt.Message) -> None:
        self._hand(item.topic.value, item.payload if isinstance(item.payload, bytes) else b"")


def _code(code: object) -> int:
    """The number of a return code, plain or of MQTT 5."""
    return code if isinstance(code, int) else int(getattr(code, "value", _REFUSED))
