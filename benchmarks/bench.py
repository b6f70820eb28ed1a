"""What every scenario needs: rings, servers to compare with, loads, and how long each may take."""

import asyncio
import contextlib
import itertools
import shutil
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks import wrk
from benchmarks.figures import Load
from benchmarks.http import Client
from benchmarks.ring import DELAY, Ring, environment_of, migrated
from benchmarks.seed import sample_ids, seed
from benchmarks.usage import cpu_seconds
from chaos.ports import free_address
from chaos.process import Process
from cqrssite.stack.health import answers_http

# Requests before a load.
_WARM = 300


class Served(NamedTuple):
    """A server that is up."""

    address: str
    pid: int


class Bench:
    """One run. quick: everything shorter. gateways: processes of each ring. folder: empty, gets all files."""

    def __init__(self, folder: Path, *, quick: bool, gateways: int, say: Callable[[str], None]) -> None:
        self.quick = quick
        self.gateways = gateways
        self.say = say
        self.hellos: list[Load] = []
        self._folder = folder
        self._numbers = itertools.count(1)
        self._template: Path | None = None
        self._shared: Ring | None = None
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._end_shared()

    def seconds(self, quick: float, full: float) -> float:
        """How long something lasts in this run."""
        return quick if self.quick else full

    @property
    def delay(self) -> float:
        """Seconds commands wait. Figures do not depend on it; the whole run does."""
        return 1.0 if self.quick else DELAY

    def folder(self) -> Path:
        """A new folder."""
        path = self._folder / str(next(self._numbers))
        path.mkdir()
        return path

    @contextlib.asynccontextmanager
    async def ring(self) -> AsyncIterator[Ring]:
        """The real processes, up, with a thousand contacts; in a quick run those of the scenario before."""
        if not self.quick:
            async with self.fresh_ring() as ring:
                yield ring
            return
        if self._shared is None:
            self._shared = await self._open.enter_async_context(self.fresh_ring())
        yield self._shared

    @contextlib.asynccontextmanager
    async def fresh_ring(
        self,
        *,
        contacts: int = 1000,
        delay: float | None = None,
        program: Mapping[str, Sequence[str]] | None = None,
    ) -> AsyncIterator[Ring]:
        """The real processes, newly started, with so many contacts; nothing else runs beside."""
        await self._end_shared()
        var = self.folder() / "var"
        await self.databases(var, contacts=contacts)
        ring = Ring(var, gateways=self.gateways, delay=self.delay if delay is None else delay, program=program)
        async with ring.running():
            yield ring
        shutil.rmtree(var)

    async def _end_shared(self) -> None:
        self._shared = None
        await self._open.aclose()

    async def databases(self, var: Path, *, contacts: int) -> None:
        """Makes a folder with both databases, migrated, and so many contacts."""
        if self._template is None:
            self._template = await migrated(self._folder)
        shutil.copytree(self._template, var)
        await asyncio.to_thread(seed, var, contacts)

    @contextlib.asynccontextmanager
    async def server(self, command: Callable[[str, str], Sequence[str]], **environment: str) -> AsyncIterator[Served]:
        """Another server, up. command: makes its command line of host and port."""
        await self._end_shared()
        address = free_address()
        host, _, port = address.rpartition(":")
        log = self.folder() / "server.log"
        process = Process(
            "server",
            command(host, port),
            environment_of() | environment,
            log,
            lambda: answers_http(address, "/"),
        )
        try:
            await process.start()
            await process.wait_up(within=60)
            assert process.pid is not None
            yield Served(address, process.pid)
        finally:
            await process.kill()

    async def load(
        self,
        addresses: Sequence[str],
        body: str,
        *,
        seconds: float,
        ids: Path | None = None,
        connections: int = wrk.CONNECTIONS,
        warm: int = _WARM,
    ) -> Load:
        """A load for so many seconds, after `warm` requests. Raises LoadFailed.

        wrk does not read answers, so those of the first requests are looked at: errors have status 200 too.
        """
        if body:
            one = (await asyncio.to_thread(ids.read_text)).split("\n", 1)[0] if ids else ""
            async with Client(addresses[0]) as client:
                await client.at_once(body.replace("~I~", one), warm)
        return await wrk.load(
            addresses, seconds=seconds, body=body, ids=ids, folder=self._folder, connections=connections
        )

    def ids(self, var: Path) -> Path:
        """A file with the ids of random contacts."""
        return sample_ids(var, self.folder() / "ids")

    async def hello(self) -> float:
        """Measures the hello-world once more; returns the seconds of CPU that one request took of its server."""
        async with self.server(uvicorn("benchmarks.hello:application", interface="asgi3")) as served:
            before = cpu_seconds(served.pid)
            self.hellos.append(await self.load([served.address], "", seconds=self.seconds(2, 5)))
            return (cpu_seconds(served.pid) - before) / self.hellos[-1].requests


def uvicorn(application: str, *, interface: str = "auto") -> Callable[[str, str], Sequence[str]]:
    """The command that runs an application on uvicorn, one process."""
    return lambda host, port: (
        *(sys.executable, "-m", "uvicorn", application, "--host", host, "--port", port),
        *("--interface", interface, "--no-access-log", "--log-level", "warning"),
    )


async def until(condition: Callable[[], Awaitable[bool] | bool], *, within: float, what: str) -> None:
    """Polls until `condition` holds. Raises TimeoutError with `what` was expected."""
    try:
        async with asyncio.timeout(within):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"not within {within:g} s: {what}") from None


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
