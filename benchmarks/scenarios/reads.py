"""Reads through both gRPC hops, by 64 connections."""

from collections.abc import AsyncIterator

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.figures import Figure


async def reads(bench: Bench) -> AsyncIterator[Figure]:
    """One contact by a random id, and the first ten."""
    async with bench.ring() as ring:
        ids = bench.ids(ring.var)
        for key, label, body in (
            ("reads.contact", "contact(id)", documents.CONTACT),
            ("reads.contact_literal", "contact(id), id in the document", documents.CONTACT_LITERAL),
            ("reads.list", "listContacts(10)", documents.LIST),
        ):
            load = await bench.load(ring.gateways, body, seconds=bench.seconds(2, 10), ids=ids)
            for figure in load.figures(key, label):
                yield figure


async def sizes(bench: Bench) -> AsyncIterator[Figure]:
    """The same reads with more contacts than memory is needed for."""
    for contacts, name in ((100_000, "10^5"),) if bench.quick else ((100_000, "10^5"), (1_000_000, "10^6")):
        async with bench.fresh_ring(contacts=contacts) as ring:
            ids = bench.ids(ring.var)
            for key, label, body in (
                (f"sizes.contact_{name}", f"contact(id), {name} contacts", documents.CONTACT),
                (f"sizes.list_{name}", f"listContacts(10), {name} contacts", documents.LIST),
            ):
                load = await bench.load(ring.gateways, body, seconds=bench.seconds(2, 10), ids=ids)
                for figure in load.figures(key, label):
                    yield figure
