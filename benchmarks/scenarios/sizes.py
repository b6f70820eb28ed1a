"""The same with more contacts than memory is needed for: nothing may become slower with their number."""

from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.http import Client
from benchmarks.ring import Ring
from benchmarks.scenarios.delays import Watcher, punctuality
from benchmarks.scenarios.notices import RATE, Lateness, latency
from benchmarks.scenarios.writes import sustained
from benchmarks.sockets import open_sockets


async def sizes(bench: Bench) -> AsyncIterator[Figure]:
    """Reads; in a long run writes, delays and notices too."""
    for contacts, size in ((100_000, "10^5"),) if bench.quick else ((100_000, "10^5"), (1_000_000, "10^6")):
        async with bench.fresh_ring(contacts=contacts) as ring:
            ids = bench.ids(ring.var)
            for key, label, body in (
                (f"sizes.contact_{size}", f"contact(id), {size} contacts", documents.CONTACT),
                (f"sizes.list_{size}", f"listContacts(10), {size} contacts", documents.LIST),
            ):
                load = await bench.load(ring.gateways, body, seconds=bench.seconds(2, 10), ids=ids)
                for figure in load.figures(key, label):
                    yield figure
            if not bench.quick:
                async for figure in _writes(bench, ring, size):
                    yield figure


async def _writes(bench: Bench, ring: Ring, size: str) -> AsyncIterator[Figure]:
    label = f"addContact accepted and committed, {size} contacts"
    async for figure in sustained(bench, ring, f"sizes.committed_{size}", label, documents.ADD, 20):
        yield figure
    async with Watcher(ring) as watcher, Client(ring.gateways[0]) as client:
        answers = await client.at_rate(documents.ADD, 1000, 10)
        for figure in punctuality(f"sizes.{{}}_{size}", f"at 1,000/s, {size} contacts", await watcher.see(answers)):
            yield figure
    async with Client(ring.gateways[0], 4) as client:
        lateness = Lateness()
        sockets = await open_sockets(ring.gateways, 100, on_notice=lateness.take)
        for socket in sockets:
            socket.subscribe()
        label = f"commit to socket, 100 subscribed, {size} contacts"
        for figure in await latency(client, sockets, lateness, f"sizes.to_100_{size}", label, RATE, 5):
            yield figure
        for socket in sockets:
            socket.close()
