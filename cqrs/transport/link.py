"""The port to a broker."""

from collections.abc import Callable
from typing import Protocol, TypeAlias


class Link(Protocol):
    """A connection to a broker that is kept up."""

    @property
    def connected(self) -> bool:
        """Whether it is there, subscribed to what there is to subscribe."""
        ...

    async def run(self) -> None:
        """Keeps it up until cancelled."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None:
        """Returns once the broker has acknowledged the message. Raises cqrs.journal.errors.BrokerAway."""
        ...


Connect: TypeAlias = Callable[..., Link]
"""Makes a link from the keywords `topics`, `on_message` and `on_connect`, as cqrs.transport.mqtt.MqttLink has them."""
