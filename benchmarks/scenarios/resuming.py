"""A thousand sockets that come back at once when the gateway was restarted, each having missed the same notices."""

import asyncio
import time
from collections.abc import AsyncIterator

import orjson

from benchmarks import documents
from benchmarks.bench import Bench, until
from benchmarks.figures import Figure, Unit
from benchmarks.http import Client
from benchmarks.ring import Ring
from benchmarks.sockets import Socket, allow_files, open_sockets
from benchmarks.usage import cpu_seconds

SOCKETS = 1_000
MISSED = 20
_WITHIN = 60.0


async def resuming(bench: Bench) -> AsyncIterator[Figure]:
    """From the first connection until the last socket has all that it missed; and the gateway's CPU for it."""
    allow_files(8192)
    async with bench.ring() as ring:
        position = await _missed(ring)
        gateways = [name for name in ring.processes if name.startswith("gateway")]
        await asyncio.gather(*(ring.processes[name].kill() for name in gateways))
        await asyncio.gather(*(ring.processes[name].start() for name in gateways))
        await asyncio.gather(*(ring.processes[name].wait_up(within=60) for name in gateways))
        # What the first of them makes the gateway import and compile is not a socket's.
        await _resume(ring, position, 1)
        before = sum(cpu_seconds(ring.pid(name)) for name in gateways)
        started = time.time()
        last_at = await _resume(ring, position, SOCKETS)
        spent = sum(cpu_seconds(ring.pid(name)) for name in gateways) - before
        what = f"{SOCKETS:,} sockets resume after a restart"
        yield Figure("resuming.all", f"{what}, {MISSED} notices missed by each", last_at - started, Unit.SECONDS)
        yield Figure(
            "resuming.cpu", f"{what}: CPU of the gateway for each", spent / SOCKETS * 1_000_000, Unit.MICROSECONDS
        )


async def _missed(ring: Ring) -> str:
    """Has as many commits told as are to be missed, and one before; returns the position of that."""
    told: list[bytes] = []
    async with Client(ring.gateways[0], 1) as client:
        (socket,) = await open_sockets(ring.gateways[:1], 1, on_notice=lambda payload, _at: told.append(payload))
        socket.subscribe()
        # The first is the last that is not missed.
        await client.at_once(documents.ADD, 1 + MISSED)
        await until(lambda: len(told) > MISSED, within=_WITHIN, what=f"{1 + MISSED} notices")
        socket.close()
    position: str = orjson.loads(told[0])["payload"]["data"]["contactChanged"]["position"]
    return position


async def _resume(ring: Ring, position: str, count: int) -> float:
    """Opens so many sockets at once, which ask for what came after a position; the time of day the last has it all."""
    sockets: list[Socket] = await open_sockets(ring.gateways, count, after=position)
    await until(
        lambda: all(socket.notices >= MISSED for socket in sockets),
        within=_WITHIN,
        what=f"{count} sockets have {MISSED} notices each",
    )
    for socket in sockets:
        socket.close()
    return max(socket.last_at for socket in sockets)
