"""Mutations as fast as they are taken, and how many of them are committed while they keep coming."""

import time
from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.counts import Counts
from benchmarks.figures import Figure, Unit
from benchmarks.ring import Ring
from benchmarks.wrk import CONNECTIONS

# Commands in one document, and how many clients send such: as many commands under way as a gateway takes at once.
PER_DOCUMENT = 100
_DOCUMENT_CONNECTIONS = 16


async def writes(bench: Bench) -> AsyncIterator[Figure]:
    """addContact, one a request and a hundred a document."""
    async with bench.ring() as ring:
        for key, label, body in (
            ("writes.accepted", "addContact accepted", documents.ADD),
            ("writes.accepted_literal", "addContact accepted, name in the document", documents.ADD_LITERAL),
        ):
            counts = Counts(ring.var)
            load = await bench.load(ring.gateways, body, seconds=bench.seconds(2, 10))
            for figure in load.figures(key, label):
                yield figure
            await counts.all_committed(within=120)
            counts.close()
        async for figure in sustained(
            bench, ring, "writes.committed", "addContact accepted and committed", documents.ADD, bench.seconds(4, 60)
        ):
            yield figure
    async with bench.ring() as ring:
        for key, label, literal, seconds in (
            ("writes.documents", "documents of 100: committed", False, bench.seconds(3, 60)),
            (
                "writes.documents_literal",
                "documents of 100, names in the document: committed",
                True,
                bench.seconds(2, 20),
            ),
        ):
            body = documents.many(PER_DOCUMENT, literal=literal)
            async for figure in sustained(bench, ring, key, label, body, seconds, connections=_DOCUMENT_CONNECTIONS):
                yield figure


async def sustained(
    bench: Bench, ring: Ring, key: str, label: str, body: str, seconds: float, *, connections: int = CONNECTIONS
) -> AsyncIterator[Figure]:
    """Commands a second that were accepted and committed, from the first request to the last commit, less the delay;
    and by how much the last commit was late."""
    counts = Counts(ring.var)
    started = time.time()
    await bench.load(ring.gateways, body, seconds=seconds, connections=connections, warm=1)
    ended = time.time()
    await counts.all_committed(within=300)
    last = counts.last_committed_at()
    yield Figure(key, label, counts.accepted / (last - started - ring.delay), Unit.PER_SECOND)
    behind = max(0.0, last - ended - ring.delay)
    yield Figure(f"{key}.behind", f"{label}: behind at the end", behind, Unit.SECONDS, compared=False)
    counts.close()
