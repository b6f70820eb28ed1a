"""From the commit to the sockets: one notice to 1, 100 and 1,000 subscribers, and as many as can be sent."""

from collections.abc import AsyncIterator
from datetime import datetime

import orjson

from benchmarks import documents
from benchmarks.bench import Bench, percentile, until
from benchmarks.figures import Figure, Unit
from benchmarks.http import Client
from benchmarks.ring import Ring
from benchmarks.sockets import Socket, allow_files, open_sockets

# Commands a second while latency is measured: few, so that it is not the rate at which notices can be sent.
RATE = 5
_BURST_DOCUMENTS = 3


async def notices(bench: Bench) -> AsyncIterator[Figure]:
    """Latency by number of subscribers; then sends a second to a thousand."""
    allow_files(8192)
    async with bench.ring() as ring, Client(ring.gateways[0], 4) as client:
        lateness = Lateness()
        sockets: list[Socket] = []
        for subscribers in (1, 100, 1000):
            new = await open_sockets(ring.gateways, subscribers - len(sockets), on_notice=lateness.take)
            for socket in new:
                socket.subscribe()
            sockets += new
            key, label = f"notices.to_{subscribers}", f"commit to socket, {subscribers:,} subscribed"
            for figure in await latency(client, sockets, lateness, key, label, RATE, bench.seconds(1.5, 10)):
                yield figure
        yield await _burst(ring, client, sockets)
        for socket in sockets:
            socket.close()


async def latency(
    client: Client,
    sockets: list[Socket],
    lateness: "Lateness",
    key: str,
    label: str,
    rate: float,
    seconds: float,
) -> list[Figure]:
    """How long after its commit a notice comes to all of these sockets, which subscribe just now."""
    await client.at_once(documents.ADD, 1)
    await _all_have(sockets, 1)
    lateness.milliseconds.clear()
    answers = await client.at_rate(documents.ADD, rate, seconds)
    await _all_have(sockets, 1 + len(answers))
    late = lateness.milliseconds
    for socket in sockets:
        socket.notices = 0
    return [
        Figure(f"{key}.p50", f"{label}: p50", percentile(late, 0.5), Unit.MILLISECONDS),
        Figure(f"{key}.p99", f"{label}: p99", percentile(late, 0.99), Unit.MILLISECONDS, tail=True),
    ]


class Lateness:
    """How long after its commit each notice came to each socket."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        # What a thousand sockets are sent is the same text, which is read once.
        self._committed_at: dict[bytes, float] = {}

    def take(self, payload: bytes, now: float) -> None:
        committed = self._committed_at.get(payload)
        if committed is None:
            text = orjson.loads(payload)["payload"]["data"]["contactChanged"]["committedAt"]
            committed = self._committed_at[payload] = datetime.fromisoformat(text).timestamp()
        self.milliseconds.append((now - committed) * 1000)


async def _burst(ring: Ring, client: Client, sockets: list[Socket]) -> Figure:
    """Sends a second, while some hundred commits are told to every socket."""
    for socket in sockets:
        socket.count_only()
    await client.at_once(documents.many(100), _BURST_DOCUMENTS)
    each = 100 * _BURST_DOCUMENTS
    await _all_have(sockets, each)
    first, last = min(socket.first_at for socket in sockets), max(socket.last_at for socket in sockets)
    return Figure(
        "notices.sent", f"notices sent to {len(sockets):,} subscribers", each * len(sockets) / (last - first), _RATE
    )


_RATE = Unit.PER_SECOND


async def _all_have(sockets: list[Socket], count: int) -> None:
    await until(
        lambda: all(socket.notices >= count for socket in sockets),
        within=60,
        what=f"{len(sockets)} sockets have {count} notices each ({sum(s.notices < count for s in sockets)} have not)",
    )
