"""`python -m benchmarks.profile`: where the time goes, in microseconds of CPU per operation and process.

CPU time as the system counts it, so nothing slows down what is measured. With --inside NAME, the functions in which one
process spends it, sampled by py-spy (pip install py-spy; where the system forbids it to look, run it as root).
"""

import asyncio
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import documents, wrk
from benchmarks.bench import Bench
from benchmarks.counts import Counts
from benchmarks.http import Client
from benchmarks.ring import Ring
from benchmarks.usage import Meter, Times
from benchmarks.wrk import LoadFailed
from cqrs.transport.process import StartError

PER_DOCUMENT = 100


@dataclass(frozen=True)
class Operation:
    """One kind of request. commands: how many each brings. connections: how many at once. rate: a second; 0: all."""

    name: str
    body: str
    commands: int = 0
    connections: int = wrk.CONNECTIONS
    rate: int = 0


OPERATIONS = {
    "contact": Operation("contact(id)", documents.CONTACT),
    "list": Operation("listContacts(10)", documents.LIST),
    "add": Operation("addContact, to its commit", documents.ADD, commands=1),
    # Where nothing queues, nothing is gathered: what one command costs by itself.
    "paced": Operation("addContact at 500/s, to its commit", documents.ADD, commands=1, rate=500),
    "documents": Operation("addContact, 100 a document", documents.many(PER_DOCUMENT), PER_DOCUMENT, connections=16),
}


@dataclass(frozen=True)
class Budget:
    """What one operation costs each process. rate: operations a second while it was measured."""

    operation: str
    rate: float
    by_process: Mapping[str, Times]


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    if reason := wrk.missing() or _cannot_look_inside(options.inside):
        console.print(f"Nothing is measured: {reason}")
        return 1
    try:
        hello, budgets, stacks = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_measure(options))
    except (LoadFailed, StartError, TimeoutError) as error:
        console.print(f"Nothing is measured: {error}")
        return 1
    show(budgets, hello, console)
    for operation, functions in stacks.items():
        show_functions(f"{options.inside} during {operation}", functions, options.top, console)
    return 0


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, metavar="NAME", help=f"of {', '.join(OPERATIONS)}")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each operation (5)")
    parser.add_argument("--inside", metavar="PROCESS", help="broker, database, reader, writer or gateway")
    parser.add_argument("--top", type=int, default=40, help="functions that are shown (40)")
    return parser.parse_args()


def _cannot_look_inside(process: str | None) -> str:
    if process and not _py_spy():
        return "py-spy is not installed (pip install py-spy)"
    return ""


async def _measure(options: Namespace) -> tuple[float, list[Budget], dict[str, "Functions"]]:
    budgets: list[Budget] = []
    stacks: dict[str, Functions] = {}
    with tempfile.TemporaryDirectory(prefix="contacts-profile-") as folder:
        bench = Bench(Path(folder), quick=True, gateways=1, say=print)
        hello = await bench.hello()
        async with bench.fresh_ring() as ring:
            ids = bench.ids(ring.var)
            for name in options.only or OPERATIONS:
                operation = OPERATIONS[name]
                await bench.load(ring.gateways, operation.body, seconds=2, ids=ids, connections=operation.connections)
                await _settle(ring)
                budgets.append(await _budget(bench, ring, operation, options.seconds, ids))
                if options.inside:
                    spying = asyncio.create_task(
                        _spy(ring.pid(options.inside), options.seconds, bench.folder() / "raw")
                    )
                    await _budget(bench, ring, operation, options.seconds + 1, ids)
                    stacks[operation.name] = await spying
        return (hello + await bench.hello()) / 2, budgets, stacks


async def _budget(bench: Bench, ring: Ring, operation: Operation, seconds: int, ids: Path) -> Budget:
    """Runs the load; of a command, everything up to its commit and its notice is counted."""
    counts = Counts(ring.var)
    meter = Meter(ring)
    if operation.rate:
        async with Client(ring.gateways[0]) as client:
            requests = len(await client.at_rate(operation.body, operation.rate, seconds))
    else:
        load = await bench.load(
            ring.gateways, operation.body, seconds=seconds, ids=ids, connections=operation.connections, warm=1
        )
        requests = load.requests
    await _settle(ring)
    spent = meter.read()
    done = counts.accepted if operation.commands else requests
    counts.close()
    by_process = {name: Times(*(part / done for part in times)) for name, times in spent.by_process.items()}
    return Budget(operation.name, done / seconds, by_process)


async def _settle(ring: Ring) -> None:
    counts = Counts(ring.var)
    await counts.all_settled(within=120)
    counts.close()


def show(budgets: list[Budget], hello: float, console: Console) -> None:
    """One table for each operation. hello: seconds of CPU for one request of the hello-world."""
    console.print(f"One request of the hello-world takes {hello * 1e6:.1f} µs of CPU.")
    for budget in budgets:
        table = Table(title=f"{budget.operation}: µs of CPU per operation, at {budget.rate:,.0f}/s")
        table.add_column("process")
        for column in ("in all", "main thread", "other threads", "of it in the kernel", "in hello-worlds"):
            table.add_column(column, justify="right")
        total = Times(*map(sum, zip(*budget.by_process.values(), strict=True)))
        for name, times in [*budget.by_process.items(), ("all", total)]:
            if name == "all":
                table.add_section()
            main = min(times.main, times.total)
            micro = [f"{part * 1e6:.1f}" for part in (times.total, main, times.total - main, times.system)]
            table.add_row(name, *micro, f"{times.total / hello:.2f}")
        console.print(table)


class Functions:
    """Samples by function. own: those in which it was at the top; all: those in which it was anywhere."""

    def __init__(self, raw: str) -> None:
        self.own: Counter[str] = Counter()
        self.all: Counter[str] = Counter()
        self.samples = 0
        for frames, count in _stacks(raw):
            self.samples += count
            self.own[frames[-1]] += count
            for frame in set(frames):
                self.all[frame] += count


def _stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """The stacks of a "raw" recording, outermost frame first, each with its number of samples."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isdecimal():
            yield stack.split(";"), int(count)


def show_functions(title: str, functions: Functions, top: int, console: Console) -> None:
    """The functions that were seen most often: by what they did themselves, and by what they had done."""
    samples = max(1, functions.samples)
    # Those in which nearly all happens are the way down to the event loop.
    called = Counter({name: count for name, count in functions.all.items() if count < 0.85 * samples})
    for what, most in (("own", functions.own.most_common(top)), ("with callees", called.most_common(top))):
        table = Table(title=f"{title}, {what}: {functions.samples} samples")
        for column in ("own", "with callees"):
            table.add_column(column, justify="right")
        table.add_column("function")
        for name, _ in most:
            table.add_row(f"{functions.own[name] / samples:.1%}", f"{functions.all[name] / samples:.1%}", name)
        console.print(table)


async def _spy(pid: int, seconds: int, raw: Path) -> Functions:
    """Samples a process for so many seconds, 200 times each, where it holds the interpreter's lock."""
    program = _py_spy()
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(program, "record", "--gil", "--function", "--rate", "200", "--format", "raw"),
        *("--duration", str(seconds), "--pid", str(pid), "--output", str(raw)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"py-spy cannot look into process {pid}:\n{output.decode(errors='replace')}")
    return Functions(await asyncio.to_thread(raw.read_text))


def _py_spy() -> str | None:
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


if __name__ == "__main__":
    sys.exit(main())
