"""`python -m benchmarks`: measures this project on this machine, and says how it compares."""

import asyncio
import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import uvloop
from rich.console import Console

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Hello
from benchmarks.plot import svg
from benchmarks.report import Run, as_json, keep, read_committed, show
from benchmarks.scenarios import SCENARIOS
from benchmarks.usage import Others
from benchmarks.wrk import LoadFailed
from cqrs.transport.process import StartError

RATIOS = Path(__file__).with_name("ratios.json")
# Scenarios between two measurements of the hello-world.
_HELLO_EVERY = 6


def main() -> int:
    """0 when all that was asked for was measured."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    if reason := wrk.missing():
        console.print(f"Nothing is measured: {reason}")
        return 1
    # The load takes part in the figures: it is kept as light as it can be.
    run = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_measure(options))
    committed = read_committed(options.compare, run.kind)
    show(run, committed, console)
    if options.json:
        options.json.write_text(json.dumps(as_json(run), indent=1, ensure_ascii=False) + "\n")
    if options.plot:
        options.plot.write_text(svg(run))
    if options.keep:
        keep(run, options.keep)
    return 1 if run.without else 0


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter loads and fewer sizes: under two minutes")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--gateways", type=int, default=1, metavar="N", help="gateway processes of each system (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the rates")
    parser.add_argument("--compare", type=Path, default=RATIOS, metavar="FILE", help="ratios to compare with")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="make these ratios the ones to compare with")
    options = parser.parse_args()
    if options.gateways < 1:
        parser.error("--gateways must be at least 1")
    return options


async def _measure(options: Namespace) -> Run:
    figures: list[Figure] = []
    without: dict[str, str] = {}
    others = Others()
    with tempfile.TemporaryDirectory(prefix="contacts-benchmark-") as folder:
        names = [name for name in SCENARIOS if not options.only or name in options.only]
        async with Bench(Path(folder), quick=options.quick, gateways=options.gateways, say=_say) as bench:
            for number, name in enumerate(names):
                if number % _HELLO_EVERY == 0:
                    await bench.hello()
                started = time.monotonic()
                _say(f"{name} ({number + 1} of {len(names)}), load {os.getloadavg()[0]:.1f}")
                try:
                    async for figure in SCENARIOS[name](bench):
                        figures.append(figure)
                        _say(f"  {figure.label}: {figure.value:,.3g} {figure.unit.value}")
                except (LoadFailed, StartError, TimeoutError, OSError) as error:
                    without[name] = str(error) or type(error).__name__
                    _say(f"  {name} failed: {without[name]}")
                _say(f"  {time.monotonic() - started:.1f} s")
            await bench.hello()
        return Run(Hello.of(bench.hellos), figures, options.quick, options.gateways, without, others.read())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
