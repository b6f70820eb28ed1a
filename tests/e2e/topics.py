"""What is sent over the topics, heard by a subscriber at the broker, decoded by the rules of the contract."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiomqtt

from protocol import topics
from protocol.contact_pb2 import Contact, ContactReference
from protocol.cqrs_command_pb2 import CommandBatch


class Heard:
    """How often each command was sent, cancels not counted; and in how many messages all of them were."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()
        self.messages = 0

    @property
    def repeated(self) -> int:
        """Sendings beyond the first of each command."""
        return sum(self.commands.values()) - len(self.commands)

    def hear(self, topic: str, payload: bytes) -> None:
        self.messages += 1
        match topic:
            case topics.ADD | topics.UPDATE:
                self.commands[Contact.FromString(payload).meta.command_id] += 1
            case topics.DELETE:
                self.commands[ContactReference.FromString(payload).meta.command_id] += 1
            case _:
                for command in CommandBatch.FromString(payload).command:
                    self.commands[command.meta.command_id] += 1


@contextlib.asynccontextmanager
async def listening(address: str) -> AsyncIterator[Heard]:
    """Listens at the broker within the context."""
    host, _, port = address.rpartition(":")
    heard = Heard()
    async with aiomqtt.Client(host, int(port)) as broker:
        for topic in (topics.ADD, topics.UPDATE, topics.DELETE, topics.BATCH):
            await broker.subscribe(topic, qos=1)

        async def listen() -> None:
            async for message in broker.messages:
                assert isinstance(message.payload, bytes)
                heard.hear(str(message.topic), message.payload)

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait([task])
