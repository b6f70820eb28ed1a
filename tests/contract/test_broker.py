"""What the ring needs of a broker, and what a link makes of it: the embedded one and Mosquitto alike."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cqrs.journal.errors import BrokerAway
from cqrs.transport.addresses import split_address
from cqrs.transport.broker import Broker
from cqrs.transport.mqtt import MqttLink
from cqrs.transport.process import StartError
from protocol.topics import MAX_PAYLOAD
from tests.support.polling import eventually
from tests.support.probes import free_port, need_binary

USER, PASSWORD = "contacts", "secret"


class Embedded:
    """The broker of runbroker, in this process."""

    def __init__(self, address: str, folder: Path, *, guarded: bool) -> None:
        self.address = address
        self._guarded = guarded

    async def start(self) -> None:
        self._broker = Broker(self.address, **({"username": USER, "password": PASSWORD} if self._guarded else {}))
        await self._broker.__aenter__()

    async def stop(self) -> None:
        await self._broker.__aexit__()


class Mosquitto:
    def __init__(self, address: str, folder: Path, *, guarded: bool) -> None:
        self._binary = need_binary("/usr/sbin/mosquitto")
        self.address = address
        host, port = split_address(address)
        lines = [f"listener {port} {host}", f"allow_anonymous {str(not guarded).lower()}"]
        if guarded:
            lines += [f"password_file {folder / 'passwords'}", "user root"]
            tool = need_binary("/usr/bin/mosquitto_passwd")
            subprocess.run([tool, "-b", "-c", folder / "passwords", USER, PASSWORD], check=True)
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")

    async def start(self) -> None:
        command = [self._binary, "-c", str(self._config)]
        self._process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        try:
            await eventually(self._listens, what="mosquitto answers")
        except AssertionError:
            await self.stop()
            raise

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(split_address(self.address), timeout=1):
            return True
        return False

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


KINDS = [pytest.param(Embedded, id="embedded"), pytest.param(Mosquitto, id="mosquitto", marks=pytest.mark.mosquitto)]


@pytest.fixture(params=KINDS)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    broker = request.param(f"127.0.0.1:{free_port()}", tmp_path, guarded=False)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture(params=KINDS)
async def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    broker = request.param(f"127.0.0.1:{free_port()}", tmp_path, guarded=True)
    await broker.start()
    yield broker
    await broker.stop()


@contextlib.asynccontextmanager
async def running(*links: MqttLink) -> AsyncIterator[None]:
    """Links at work, connected."""
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        await eventually(lambda: all(link.connected for link in links), within=15)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Receiver(MqttLink):
    """Keeps what it receives."""

    def __init__(self, address: str, *topics: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        super().__init__(
            address,
            name="contacts-writer",
            topics=topics,
            on_message=lambda topic, payload: self.received.append((topic, payload)),
        )


def sender(address: str, **options: Any) -> MqttLink:
    return MqttLink(address, name="contacts-gateway", **options)


async def test_what_is_acknowledged_reaches_each_subscriber_in_order(broker: Any) -> None:
    one, two = Receiver(broker.address, "A/B", "A/C"), Receiver(broker.address, "A/B")
    link = sender(broker.address)
    sent = [str(number).encode() for number in range(200)]
    async with running(one, two, link):
        for payload in sent:
            await link.publish("A/B", payload)
        await link.publish("A/C", b"other")
        await eventually(lambda: len(one.received) == 201 and len(two.received) == 200)
    assert two.received == [("A/B", payload) for payload in sent]
    assert sorted(one.received) == sorted([*two.received, ("A/C", b"other")])


async def test_many_messages_may_wait_for_their_acknowledgement_at_once(broker: Any) -> None:
    receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
    async with running(receiver, link), asyncio.timeout(30):
        await asyncio.gather(*(link.publish("A/B", str(number).encode()) for number in range(500)))
        await eventually(lambda: len(receiver.received) == 500)
    assert {payload for _, payload in receiver.received} == {str(number).encode() for number in range(500)}


async def test_the_largest_message_and_the_empty_one_arrive(broker: Any) -> None:
    receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
    async with running(receiver, link):
        await link.publish("A/B", b"x" * MAX_PAYLOAD)
        await link.publish("A/B", b"")
        await eventually(lambda: len(receiver.received) == 2)
    assert [len(payload) for _, payload in receiver.received] == [MAX_PAYLOAD, 0]


async def test_a_message_over_the_limit_is_still_handed_on(broker: Any) -> None:
    receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
    async with running(receiver, link):
        await link.publish("A/B", b"x" * (MAX_PAYLOAD + 1))
        await eventually(lambda: receiver.received)


async def test_a_broker_that_comes_back_is_found_again_with_its_topics(
    broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cqrs.transport.backoff")
    receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
    async with running(receiver, link):
        await broker.stop()
        await eventually(lambda: not link.connected and not receiver.connected)
        with pytest.raises(BrokerAway):
            await link.publish("A/B", b"lost")
        await broker.start()
        await eventually(lambda: link.connected and receiver.connected, within=15)
        await link.publish("A/B", b"back")
        await eventually(lambda: receiver.received == [("A/B", b"back")])
        await eventually(lambda: caplog.text.count("connected to the broker") == 2)
    # One line for each of the two when it began; no client id was used twice, or they would have thrown each other out.
    assert caplog.text.count("waiting for the broker") == 2


async def test_what_waits_for_an_acknowledgement_fails_when_the_broker_goes(broker: Any) -> None:
    link = sender(broker.address)
    async with running(link):
        publishing = [asyncio.create_task(link.publish("A/B", b"x" * 100_000)) for _ in range(100)]
        await asyncio.sleep(0)
        await broker.stop()
        async with asyncio.timeout(4):  # before the deadline of an acknowledgement
            results = await asyncio.gather(*publishing, return_exceptions=True)
        await broker.start()
    assert {type(result) for result in results if result is not None} == {BrokerAway}


async def test_a_cancelled_link_closes_its_connection(broker: Any) -> None:
    link = sender(broker.address)
    for _ in range(5):
        task = asyncio.create_task(link.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with running(link):
        await link.publish("A/B", b"")
    assert not link.connected


async def test_a_defect_in_the_receiver_ends_the_link_with_its_error(broker: Any) -> None:
    def defective(topic: str, payload: bytes) -> None:
        raise ZeroDivisionError("a defect")

    receiver = MqttLink(broker.address, name="contacts-writer", topics=["A/B"], on_message=defective)
    link = sender(broker.address)
    async with running(link):
        task = asyncio.create_task(receiver.run())
        await eventually(lambda: receiver.connected)
        await link.publish("A/B", b"")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 5)


async def test_the_right_password_is_let_in(guarded: Any) -> None:
    link = sender(guarded.address, username=USER, password=PASSWORD)
    async with running(link):
        await link.publish("A/B", b"")


@pytest.mark.parametrize("credentials", [{}, {"username": USER, "password": "wrong"}, {"username": "x"}])
async def test_a_wrong_password_is_not(
    guarded: Any, credentials: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    link = sender(guarded.address, **credentials)
    task = asyncio.create_task(link.run())
    await eventually(lambda: "waiting for the broker" in caplog.text)
    assert "Not authorized" in caplog.text
    assert not link.connected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# The embedded broker alone.


def test_all_of_it_works_on_uvloop_too() -> None:
    """As in the services; the other tests run on the loop of runserver."""

    async def scenario() -> None:
        address = f"127.0.0.1:{free_port()}"
        receiver, link = Receiver(address, "A/B"), sender(address)
        async with contextlib.AsyncExitStack() as stack:
            async with Broker(address):
                await stack.enter_async_context(running(receiver, link))
                await asyncio.gather(*(link.publish("A/B", b"first") for _ in range(200)))
                publishing = [asyncio.create_task(link.publish("A/B", b"x" * 100_000)) for _ in range(100)]
            await asyncio.gather(*publishing, return_exceptions=True)
            await eventually(lambda: not link.connected and not receiver.connected)
            async with Broker(address):
                await eventually(lambda: link.connected and receiver.connected)
                await link.publish("A/B", b"back")
                await eventually(lambda: ("A/B", b"back") in receiver.received)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_port_in_use_is_one_clear_error() -> None:
    async with Broker("127.0.0.1:0") as broker:
        with pytest.raises(StartError, match="cannot listen on"):
            await Broker(broker.address).__aenter__()


async def test_a_message_of_ten_megabytes_ends_its_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with Broker("127.0.0.1:0") as broker:
        receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
        async with running(receiver, link):
            large = sender(broker.address)
            async with running(large):
                with pytest.raises(BrokerAway):
                    await large.publish("A/B", b"x" * 10_000_000)
            await link.publish("A/B", b"after")
            await eventually(lambda: receiver.received)
        assert receiver.received == [("A/B", b"after")]
        assert "a packet of" in caplog.text


async def test_garbage_ends_its_connection_and_no_other() -> None:
    async with Broker("127.0.0.1:0") as broker:
        host, port = split_address(broker.address)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\xff", bytes(1000), b"\x10\x00", b"\xf0\x00"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(garbage)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(5):
                    await reader.read()
            writer.close()
        receiver, link = Receiver(broker.address, "A/B"), sender(broker.address)
        async with running(receiver, link):
            await link.publish("A/B", b"after")
            await eventually(lambda: receiver.received)


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cqrs.transport.broker.PATIENCE", 0.1)
    async with Broker("127.0.0.1:0") as broker:
        reader, writer = await asyncio.open_connection(*split_address(broker.address))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_subscriber_that_reads_nothing_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cqrs.transport.broker.PATIENCE", 0.3)
    async with Broker("127.0.0.1:0") as broker:
        reader, writer = await asyncio.open_connection(*split_address(broker.address), limit=1024)
        writer.write(b"\x10\x10\0\4MQTT\4\2\0\0\0\4lazy" + b"\x82\x08\0\1\0\3A/B\1")
        await asyncio.wait_for(reader.readexactly(4 + 5), 5)
        link = sender(broker.address)
        async with running(link):
            for _ in range(20):
                await link.publish("A/B", b"x" * MAX_PAYLOAD)
            await eventually(lambda: "it reads nothing" in caplog.text)
            await link.publish("A/B", b"after")
        writer.close()
