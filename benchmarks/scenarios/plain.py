"""The same system without batching and plans."""

import sys
from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.scenarios.writes import sustained

_PROGRAM = (sys.executable, "-m", "benchmarks.plain")


async def plain(bench: Bench) -> AsyncIterator[Figure]:
    """Reads, and mutations accepted and committed."""
    program = dict.fromkeys(("broker", "database", "reader", "writer", "gateway"), _PROGRAM)
    async with bench.fresh_ring(program=program) as ring:
        ids = bench.ids(ring.var)
        for key, label, body in (
            ("plain.contact", "without batching and plans: contact(id)", documents.CONTACT),
            ("plain.list", "without batching and plans: listContacts(10)", documents.LIST),
        ):
            load = await bench.load(ring.gateways, body, seconds=bench.seconds(2, 10), ids=ids)
            for figure in load.figures(key, label):
                yield figure
        label = "without batching and plans: addContact accepted and committed"
        async for figure in sustained(bench, ring, "plain.committed", label, documents.ADD, bench.seconds(2, 10)):
            yield figure
