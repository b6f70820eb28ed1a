import asyncio

import aiomqtt
import pytest

from cqrs.journal.errors import BrokerAway
from cqrs.transport import mqtt
from cqrs.transport.mqtt import MqttLink
from tests.support.polling import eventually


class StandIn:
    """Takes the place of the MQTT client: connected until told otherwise; acknowledges when told."""

    made: list["StandIn"] = []

    def __init__(self, host: str, port: int, **options: object) -> None:
        self.options = options
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.acknowledged = asyncio.Event()
        self.sent: list[str] = []
        self.made.append(self)

    async def enter(self) -> None: ...

    async def leave(self) -> None: ...

    @property
    def messages(self) -> "StandIn":
        return self

    def __aiter__(self) -> "StandIn":
        return self

    async def __anext__(self) -> None:
        await self.lost

    async def subscribe(self, topics: list[tuple[str, int]]) -> list[int]:
        return [0x80 if topic == "SECRET" else qos for topic, qos in topics]

    async def publish(self, topic: str, payload: bytes, *, qos: int, timeout: float) -> None:
        self.sent.append(topic)
        await self.acknowledged.wait()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    StandIn.made = []
    monkeypatch.setattr(mqtt, "_Client", StandIn)
    return StandIn.made


async def connect(link: MqttLink) -> asyncio.Task[None]:
    task = asyncio.create_task(link.run())
    await eventually(lambda: link.connected)
    return task


async def test_nothing_is_published_before_there_is_a_connection() -> None:
    link = MqttLink("127.0.0.1:1", name="contacts-test")
    assert not link.connected
    with pytest.raises(BrokerAway, match="not connected to the broker"):
        await link.publish("A", b"")


async def test_publish_returns_with_the_acknowledgement_and_not_before(clients: list[StandIn]) -> None:
    link = MqttLink("127.0.0.1:1", name="contacts-test")
    running = await connect(link)
    publishing = asyncio.create_task(link.publish("A", b""))
    await asyncio.sleep(0)
    assert clients[0].sent == ["A"]
    assert not publishing.done()
    clients[0].acknowledged.set()
    await publishing
    running.cancel()


async def test_without_acknowledgement_publish_ends_at_the_deadline(
    clients: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "DEADLINE", 0.05)
    link = MqttLink("127.0.0.1:1", name="contacts-test")
    running = await connect(link)
    with pytest.raises(BrokerAway, match="no acknowledgement"):
        await link.publish("A", b"")
    running.cancel()


async def test_a_lost_connection_ends_every_publish_that_waits_and_a_new_client_comes(clients: list[StandIn]) -> None:
    link = MqttLink("127.0.0.1:1", name="contacts-test")
    running = await connect(link)
    waiting = [asyncio.create_task(link.publish("A", b"")) for _ in range(3)]
    await asyncio.sleep(0)
    clients[0].lost.set_exception(aiomqtt.MqttError("gone"))
    async with asyncio.timeout(1):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in results] == ["the connection was lost (broker at 127.0.0.1:1)"] * 3
    await eventually(lambda: len(clients) == 2)
    first, second = (client.options["identifier"] for client in clients)
    assert first != second
    assert str(first).startswith("contacts-test-")
    running.cancel()


async def test_a_connection_is_no_connection_until_its_topics_are_granted(
    clients: list[StandIn], caplog: pytest.LogCaptureFixture
) -> None:
    link = MqttLink("127.0.0.1:1", name="contacts-test", topics=["A", "SECRET"])
    running = asyncio.create_task(link.run())
    await eventually(lambda: caplog.text)
    assert not link.connected
    assert "it refuses the topics SECRET" in caplog.text
    running.cancel()


async def test_it_tells_of_each_connection_once_it_can_publish(clients: list[StandIn]) -> None:
    told: list[bool] = []
    link = MqttLink("127.0.0.1:1", name="contacts-test", on_connect=lambda: told.append(link.connected))
    running = await connect(link)
    await asyncio.sleep(0)
    assert told == [True]
    clients[0].lost.set_exception(aiomqtt.MqttError("gone"))
    await eventually(lambda: len(told) == 2)
    assert told == [True, True]
    running.cancel()
