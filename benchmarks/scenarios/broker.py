"""The brokers alone: messages from one publisher to one subscriber, QoS 1 on both ways."""

import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator

from benchmarks.bench import Bench, until
from benchmarks.figures import Figure, Unit
from benchmarks.mqtt import open_peer
from benchmarks.ring import environment_of, find_mosquitto, mosquitto
from chaos.ports import free_address
from chaos.process import Process
from cqrssite.stack.health import answers_mqtt

_TOPIC = "benchmark"
# Bytes of one command in a message.
_COMMAND = 120


async def broker(bench: Bench) -> AsyncIterator[Figure]:
    """Messages of one command, and commands in messages of a hundred."""
    for name in ("amqtt", "mosquitto"):
        if name == "mosquitto" and not find_mosquitto():
            bench.say("mosquitto is left out: it is not installed (apt install mosquitto)")
            continue
        async with _running(bench, name) as address:
            count = {"amqtt": 3_000, "mosquitto": 20_000}[name] * (1 if bench.quick else 5)
            yield Figure(f"broker.{name}", f"{name}: messages", await _rate(address, 1, count), Unit.PER_SECOND)
            rate = 100 * await _rate(address, 100, count // 2)
            yield Figure(f"broker.{name}_100", f"{name}: commands, 100 a message", rate, Unit.PER_SECOND)


@contextlib.asynccontextmanager
async def _running(bench: Bench, name: str) -> AsyncIterator[str]:
    address, folder = free_address(), bench.folder()
    command = mosquitto(address, folder) if name == "mosquitto" else (sys.executable, "manage.py", "runbroker")
    environment = environment_of(broker_bind=address, var=folder)
    process = Process(name, command, environment, folder / "log", lambda: answers_mqtt(address))
    try:
        await process.start()
        await process.wait_up(within=60)
        yield address
    finally:
        await process.kill()


async def _rate(address: str, commands: int, count: int) -> float:
    """Messages a second, from the first sent to the last received."""
    received = itertools.count(1)
    last = [0]

    def take() -> None:
        last[0] = next(received)

    subscriber = await open_peer(address, "benchmark-subscriber", take)
    publisher = await open_peer(address, "benchmark-publisher")
    try:
        await subscriber.subscribe(_TOPIC)
        started = time.perf_counter()
        await publisher.publish(_TOPIC, bytes(_COMMAND * commands), count)
        await until(lambda: last[0] >= count, within=60, what=f"{count} messages are received ({last[0]} are)")
        return count / (time.perf_counter() - started)
    finally:
        subscriber.close()
        publisher.close()
