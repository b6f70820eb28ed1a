"""What is measured, by name, in the order in which it is."""

from collections.abc import AsyncIterator, Callable, Mapping

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.scenarios import (
    broker,
    database,
    delays,
    memory,
    notices,
    plain,
    reads,
    resuming,
    sizes,
    sockets,
    start,
    stock,
    writes,
)

Scenario = Callable[[Bench], AsyncIterator[Figure]]

SCENARIOS: Mapping[str, Scenario] = {
    "reads": reads.reads,
    "writes": writes.writes,
    "delays": delays.delays,
    "notices": notices.notices,
    "sizes": sizes.sizes,
    "sockets": sockets.sockets,
    "resuming": resuming.resuming,
    "memory": memory.memory,
    "start": start.start,
    "stock": stock.stock,
    "plain": plain.plain,
    "broker": broker.broker,
    "database": database.database,
}
