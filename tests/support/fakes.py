"""Stand-ins for what a test has no need of: they keep to the port of the real thing."""

from collections.abc import Awaitable, Callable

from contacts_write.go_contract import GoTopics
from cqrs.journal.errors import BrokerAway
from cqrs.transport.mqtt import MqttLink
from protocol import topics
from protocol.cqrs_command_pb2 import Command, CommandBatch


class FakeLink(MqttLink):
    """A broker link in memory: it acknowledges at once, unless it is disconnected or told to hold its answers."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:0", name="fake")
        self.on_connect: Callable[[], Awaitable[None] | None] = lambda: None
        self.messages: list[tuple[str, bytes]] = []
        # Set by a test: awaited before each acknowledgement.
        self.hold: Callable[[], Awaitable[None]] | None = None
        self._up = False

    @property
    def connected(self) -> bool:
        return self._up

    def connect(self) -> None:
        self._up = True
        self.on_connect()

    def disconnect(self) -> None:
        self._up = False

    async def publish(self, topic: str, payload: bytes) -> None:
        if not self._up:
            raise BrokerAway("not connected")
        if self.hold is not None:
            await self.hold()
            if not self._up:
                raise BrokerAway("the connection was lost")
        self.messages.append((topic, payload))

    def sent(self) -> list[Command]:
        """The commands of all messages, in the order they were acknowledged."""
        return [command for topic, payload in self.messages for command in commands_in(topic, payload)]

    def sent_ids(self) -> list[str]:
        return [command.meta.command_id for command in self.sent()]


def commands_in(topic: str, payload: bytes) -> list[Command]:
    """The commands of one message, by the rules of its topic."""
    if topic in (topics.BATCH, topics.CANCEL):
        return list(CommandBatch.FromString(payload).command)
    return [GoTopics().decode(topic, payload)]
