"""Memory of each process, and of each command that waits."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.counts import Counts
from benchmarks.figures import Figure, Unit
from benchmarks.http import Client
from benchmarks.ring import Ring
from benchmarks.usage import Meter, resident

# Seconds: nothing takes effect while we look.
_DELAY = 3600.0
_PER_DOCUMENT = 100
_WARM = 20


async def memory(bench: Bench) -> AsyncIterator[Figure]:
    """Each process at rest; then what a pending command takes in each."""
    count = 10_000 if bench.quick else 100_000
    async with bench.fresh_ring(delay=_DELAY) as ring, Client(ring.gateways[0], 4) as client:
        await _add(client, _WARM)
        await _quiet(ring)
        before = {name: resident(ring.pid(name)) for name in ring.processes}
        for name, size in before.items():
            yield Figure(f"memory.{name}", f"memory of the {name}", size / 1e6, Unit.MEGABYTES)
        counts = Counts(ring.var)
        await _add(client, count // _PER_DOCUMENT)
        await _quiet(ring)
        assert counts.accepted == count
        counts.close()
        for name, size in before.items():
            grown = max(0, resident(ring.pid(name)) - size) / count / 1000
            label = f"{name}, per pending command ({count:,})"
            # The others hold none: what they grow by is noise.
            holds = name.startswith(("writer", "gateway"))
            yield Figure(f"memory.pending_{name}", label, grown, Unit.KILOBYTES, compared=holds)


async def _add(client: Client, batches: int) -> None:
    body = documents.many(_PER_DOCUMENT)
    for start in range(0, batches, 4):
        await client.at_once(body, min(4, batches - start))


async def _quiet(ring: Ring) -> None:
    """Returns when the processes have nothing left to do: what was accepted lies with the writer."""
    async with asyncio.timeout(120):
        while True:
            meter = Meter(ring)
            await asyncio.sleep(1)
            if meter.read().cores < 0.08:
                return
