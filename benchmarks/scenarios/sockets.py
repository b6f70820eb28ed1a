"""What a socket takes of a gateway's memory while nothing happens."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench, until
from benchmarks.figures import Figure, Unit
from benchmarks.http import Client
from benchmarks.sockets import allow_files, open_sockets
from benchmarks.usage import Meter, resident


async def sockets(bench: Bench) -> AsyncIterator[Figure]:
    """Memory of a socket that is only open, and of one that is subscribed; one notice to all of them."""
    count = 2_000 if bench.quick else 10_000
    if allow_files(count + 1000) < count + 1000:
        bench.say(f"fewer than {count + 1000} files may be open: sockets may be refused")
    async with bench.fresh_ring() as ring, Client(ring.gateways[0], 1) as client:
        gateways = [ring.pid(name) for name in ring.processes if name.startswith("gateway")]

        def memory() -> int:
            return sum(map(resident, gateways))

        # What the first of them makes the gateway import and remember is not a socket's.
        for socket in await open_sockets(ring.gateways, 20):
            socket.close()
        before = memory()
        opened = await open_sockets(ring.gateways, count)
        yield Figure("sockets.open", f"memory per socket, {count:,} open", _kilobytes(memory() - before, count), _KB)

        for socket in opened:
            socket.subscribe()
        # Who has a notice is subscribed.
        await client.at_once(documents.ADD, 1)
        await until(
            lambda: all(socket.notices for socket in opened),
            within=ring.delay + 60,
            what=f"{count} sockets have a notice",
        )
        times = [socket.last_at for socket in opened]
        await asyncio.sleep(1)
        yield Figure(
            "sockets.idle", f"memory per socket, {count:,} subscribed", _kilobytes(memory() - before, count), _KB
        )
        yield Figure(
            "sockets.one_to_all",
            f"one notice to {count:,} sockets: first to last",
            (max(times) - min(times)) * 1000,
            Unit.MILLISECONDS,
        )
        meter = Meter(ring)
        await asyncio.sleep(bench.seconds(1, 30))
        yield Figure(
            "sockets.cpu",
            f"CPU of all processes with {count:,} idle sockets",
            meter.read().cores,
            Unit.CORES,
            compared=False,
        )
        for socket in opened:
            socket.close()


_KB = Unit.KILOBYTES


def _kilobytes(size: int, count: int) -> float:
    return size / count / 1000
