"""A broker for the links of one process."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence

from cqrs.journal.errors import BrokerAway


class InProcessBroker:
    """Hands each message to the links that subscribe to its topic before it acknowledges it.

    It holds nothing: so nothing grows in it, and nothing is lost with it that was acknowledged.
    """

    def __init__(self) -> None:
        self.links: list[InProcessLink] = []

    def connect(
        self,
        *,
        topics: Sequence[str],
        on_message: Callable[[str, bytes], None],
        on_connect: Callable[[], Awaitable[None] | None],
    ) -> "InProcessLink":
        """A link as cqrs.transport.mqtt.MqttLink makes one."""
        return InProcessLink(self, topics, on_message, on_connect)


class InProcessLink:
    """The cqrs.transport.link.Link to such a broker."""

    def __init__(
        self,
        broker: InProcessBroker,
        topics: Sequence[str],
        on_message: Callable[[str, bytes], None],
        on_connect: Callable[[], Awaitable[None] | None],
    ) -> None:
        self._broker = broker
        self._topics = frozenset(topics)
        self._on_message = on_message
        self._on_connect = on_connect
        self._defect: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        return self in self._broker.links

    async def run(self) -> None:
        """Is connected until cancelled; raises what `on_message` raises."""
        defect = self._defect = asyncio.get_running_loop().create_future()
        self._broker.links.append(self)
        try:
            result = self._on_connect()
            if inspect.isawaitable(result):
                await result
            await defect
        finally:
            self._broker.links.remove(self)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Returns once all that subscribe have taken the message. Raises BrokerAway when there is no connection."""
        if not self.connected:
            raise BrokerAway("not connected to the broker of this process")
        for link in list(self._broker.links):
            link.take(topic, payload)
        await asyncio.sleep(0)  # who publishes without end lets others go on

    def take(self, topic: str, payload: bytes) -> None:
        """To be called with each message of the broker."""
        if topic not in self._topics:
            return
        try:
            self._on_message(topic, payload)
        except Exception as error:  # noqa: BLE001  # `run` raises it: it is no fault of the sender's
            assert self._defect is not None
            if not self._defect.done():
                self._defect.set_exception(error)
