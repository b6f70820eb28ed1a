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
