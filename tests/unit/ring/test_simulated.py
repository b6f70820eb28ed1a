"""Ten minutes of a whole ring in simulated time: gateway, broker, writer and store, struck and judged."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from cqrs import conf
from cqrs.gateway import Gateway
from cqrs.ring import Ring
from cqrs.store import apply
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from tests.support import envelopes
from tests.support.simulation import BEGINNING, FlakyBroker, SimulatedLoop

DELAY = 3.0
MINUTES = 10
COMMANDS = 600
CONTACTS = 25
# What a command may be late when nothing is broken: the writer has those that are due soon after it go with it.
LATE = 0.012
# Seconds from a repair until nothing is late any more.
HEALING = 1.0


class Outage(NamedTuple):
    begins: float
    ends: float


BROKER_AWAY = Outage(120.0, 180.0)
WRITER_AWAY = Outage(300.0, 305.0)
OUTAGES = (BROKER_AWAY, WRITER_AWAY)


class Effect(NamedTuple):
    """That a command took effect: its number among those sent, when it was due and when it was seen, in ring time."""

    number: int
    due: float
    seen: float


class Simulation:
    """A ring, what is sent to it and what comes of it."""

    def __init__(self, seed: int, loop: SimulatedLoop) -> None:
        self._dice = random.Random(seed)
        self._loop = loop
        self.sent: list[Command] = []
        self._due: dict[str, float] = {}
        self.seen: list[tuple[Notice, float]] = []

    async def run(self) -> None:
        broker = FlakyBroker()
        settings = dataclasses.replace(conf.current(), delay=DELAY)
        ring = Ring(settings, broker=broker, clock=self._loop.clock, on_crash=lambda: pytest.fail("a task died"))
        async with ring as gateway, contextlib.AsyncExitStack() as writers, asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(gateway))
            group.create_task(self._strike(ring, broker, writers))
            await self._send(gateway)
            await asyncio.sleep(60.0 * MINUTES - self._loop.time())
            watching.cancel()
            assert gateway.journal.unsettled == 0

    async def _send(self, gateway: Gateway) -> None:
        moments = sorted(self._dice.uniform(0, 60.0 * MINUTES - 30) for _ in range(COMMANDS))
        contacts: list[str] = []
        for moment in moments:
            await asyncio.sleep(moment - self._loop.time())
            if len(contacts) < CONTACTS:
                command = envelopes.add(f"name {len(self.sent)}")
                contacts.append(command.aggregate_id)
            else:
                command = envelopes.update(self._dice.choice(contacts), f"name {len(self.sent)}")
            await self._accept(gateway, [command])

    async def _accept(self, gateway: Gateway, commands: Sequence[Command]) -> None:
        self.sent += commands
        for accepted in await gateway.journal.accept(commands):
            self._due[accepted.command_id] = accepted.takes_effect_at.timestamp() - BEGINNING

    async def _watch(self, gateway: Gateway) -> None:
        async for notice in gateway.feed.subscribe():
            self.seen.append((notice, self._loop.time()))

    async def _strike(self, ring: Ring, broker: FlakyBroker, writers: contextlib.AsyncExitStack) -> None:
        await asyncio.sleep(BROKER_AWAY.begins)
        await broker.be_away(BROKER_AWAY.ends - BROKER_AWAY.begins)
        await asyncio.sleep(WRITER_AWAY.begins - self._loop.time())
        (writer,) = [task for task in asyncio.all_tasks() if task.get_name() == "ring writer"]
        writer.cancel()
        await asyncio.sleep(WRITER_AWAY.ends - self._loop.time())
        ring._start_writer(writers)

    def effects(self) -> list[Effect]:
        """All notices, in their order."""
        numbers = {command.meta.command_id: number for number, command in enumerate(self.sent)}
        return [
            Effect(numbers[notice.command_id], round(self._due[notice.command_id], 6), round(seen, 6))
            for notice, seen in self.seen
        ]


def simulate(seed: int, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    random.seed(seed)
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        monkeypatch.setattr(apply, "now_ms", lambda: int(loop.clock.wall() * 1000))
        simulation = Simulation(seed, loop)
        runner.run(simulation.run())
    return simulation


def latest(due: float) -> float:
    """When a command that is due then has to have taken effect."""
    for outage in OUTAGES:
        # What was due a moment before may have waited for what is due a moment later.
        if outage.begins - LATE <= due <= outage.ends + HEALING:
            return outage.ends + HEALING
    return due + LATE


@pytest.mark.django_db(transaction=True, databases=["default", "contacts"])
def test_ten_minutes_with_the_broker_away_and_the_writer_restarted_are_the_same_for_the_same_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = simulate(1, monkeypatch)
    effects = simulation.effects()
    assert simulate(1, monkeypatch).effects() == effects

    assert sorted(effect.number for effect in effects) == list(range(COMMANDS)), "each once"
    ahead_of_time = [effect for effect in effects if effect.seen < effect.due]
    late = [effect for effect in effects if effect.seen > latest(effect.due)]
    assert (ahead_of_time, late) == ([], [])

    by_contact: dict[str, list[int]] = {}
    for effect in effects:
        by_contact.setdefault(simulation.sent[effect.number].aggregate_id, []).append(effect.number)
    assert all(numbers == sorted(numbers) for numbers in by_contact.values()), "in order"
    assert sum(effect.seen > effect.due + LATE for effect in effects) > 10, "the outages were felt"
