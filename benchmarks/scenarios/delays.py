"""How punctual commits are, and what a steady rate of commands costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from benchmarks import documents
from benchmarks.bench import Bench, percentile, until
from benchmarks.figures import Figure, Unit
from benchmarks.http import Answered, Client
from benchmarks.ring import Ring
from benchmarks.sockets import open_sockets
from benchmarks.usage import Meter

BURST = 500
RATE = 500


async def delays(bench: Bench) -> AsyncIterator[Figure]:
    """Overhead beyond the delay, at two rates; a burst; CPU at 500 commands a second, and at none."""
    async with bench.ring() as ring, Watcher(ring) as watcher, Client(ring.gateways[0]) as client:
        # The first of each kind of work costs more.
        await watcher.see(await client.at_rate(documents.ADD, 100, 0.5))
        for rate in (100, 1000):
            answers = await client.at_rate(documents.ADD, rate, bench.seconds(2, 15))
            for figure in punctuality(f"delays.{{}}_{rate}", f"at {rate:,}/s", await watcher.see(answers)):
                yield figure

        started = time.time()
        overhead = await watcher.see(await client.at_once(documents.ADD, BURST))
        last = max(arrived for arrived, _, _ in overhead)
        yield Figure("delays.burst", f"{BURST} at once: all committed", (last - started - ring.delay) * 1000, _MS)

        async for figure in _cost(bench, ring, client, watcher):
            yield figure


_MS = Unit.MILLISECONDS
# When the notice came, when the command was committed, when it was to take effect: seconds since 1970.
Seen = tuple[float, float, float]


class Watcher:
    """A socket that sees every notice, within `async with`."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._seen: dict[str, tuple[float, float]] = {}

    async def __aenter__(self) -> "Watcher":
        (self._socket,) = await open_sockets(self._ring.gateways[-1:], 1, on_notice=self._take)
        self._socket.subscribe()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._socket.close()

    async def see(self, answers: Sequence[Answered]) -> list[Seen]:
        """Waits for the notices of these commands."""
        commands = [answered.content["data"]["addContact"] for answered in answers]
        ids = {command["commandId"] for command in commands}
        await until(
            lambda: ids <= self._seen.keys(), within=self._ring.delay + 60, what=f"the notices of {len(ids)} commands"
        )
        return [(*self._seen.pop(each["commandId"]), _seconds(each["takesEffectAt"])) for each in commands]

    def _take(self, payload: bytes, now: float) -> None:
        notice: dict[str, Any] = orjson.loads(payload)["payload"]["data"]["contactChanged"]
        self._seen[notice["commandId"]] = now, _seconds(notice["committedAt"])


def punctuality(key: str, at: str, seen: Sequence[Seen]) -> list[Figure]:
    """How long after their due time commands were committed, and their notices came. key: with `{}` for which."""
    commit = [(committed - due) * 1000 for _, committed, due in seen]
    notice = [(arrived - due) * 1000 for arrived, _, due in seen]
    return [
        figure
        for what, late in (("commit", commit), ("notice", notice))
        for figure in (
            Figure(f"{key.format(what)}.p50", f"{what} beyond the delay {at}: p50", percentile(late, 0.5), _MS),
            Figure(f"{key.format(what)}.p99", f"{what} beyond the delay {at}: p99", percentile(late, 0.99), _MS, True),
        )
    ]


async def _cost(bench: Bench, ring: Ring, client: Client, watcher: Watcher) -> AsyncIterator[Figure]:
    """CPU of all processes, once as many commands are committed as accepted."""
    seconds = bench.seconds(3, 20)
    idle = Meter(ring)
    await asyncio.sleep(bench.seconds(1, 5))
    yield Figure("delays.cpu_idle", "CPU of all processes, idle", idle.read().cores, Unit.CORES, compared=False)

    load = asyncio.create_task(client.at_rate(documents.ADD, RATE, ring.delay + 0.5 + seconds), name="load")
    await asyncio.sleep(ring.delay + 0.5)
    meter = Meter(ring)
    await asyncio.sleep(seconds - 0.2)
    spent = meter.read()
    answers = await load
    await watcher.see(answers)
    yield Figure("delays.cpu", f"CPU of all processes at {RATE} commands/s", spent.cores, Unit.CORES)
    for name, times in spent.by_process.items():
        yield Figure(f"delays.cpu_{name}", f"  {name}", times.total / spent.seconds, Unit.CORES)
    queued = [answered.seconds * 1000 for answered in answers]
    yield Figure("delays.queued.p50", f'"Queued" at {RATE}/s: p50', percentile(queued, 0.5), _MS)
    yield Figure("delays.queued.p99", f'"Queued" at {RATE}/s: p99', percentile(queued, 0.99), _MS, tail=True)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
