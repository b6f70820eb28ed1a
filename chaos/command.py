"""The command line of a trial; `manage.py chaos` calls it."""

import asyncio
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, OutputWrapper

from chaos.report import excerpts
from chaos.trial import Plan, Trial
from cqrs.aggregate import registry
from cqrs.transport.process import StartError


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="gives the faults; the same seed, the same faults")
    parser.add_argument("--aggregate", choices=sorted(registry()), default="contact", help="what is sent commands")
    parser.add_argument("--kills", type=int, default=15, help="how often a process is struck")
    parser.add_argument("--gateways", type=int, default=2, help="gateway processes on one journal")
    parser.add_argument("--broker", choices=("amqtt", "mosquitto"), default="amqtt")
    parser.add_argument("--ring", action="store_true", help="each gateway is a whole ring in one process (runring)")
    parser.add_argument("--database-url", default="", help="of a PostgreSQL for journal and store; else SQLite's files")
    parser.add_argument("--rate", type=float, default=150.0, help="commands a second")
    parser.add_argument("--delay", type=float, default=0.3, help="seconds from acceptance to commit")
    parser.add_argument("--commands", type=int, default=0, help="go on until so many were accepted")
    parser.add_argument("--keep", type=Path, help="a folder that gets databases, logs and history")
    parser.add_argument("--report", choices=("text", "json"), default="text")


def run(options: dict[str, Any], out: OutputWrapper, progress: OutputWrapper) -> None:
    """Runs a trial and writes its report. Raises CommandError when a promise was broken."""
    plan = Plan(**{field: options[field] for field in Plan.__dataclass_fields__ if field in options})
    trial = Trial(plan, progress=progress.write)
    try:
        result = asyncio.run(trial.run())
    except StartError as error:
        raise CommandError(f"{error}\nseed {plan.seed}") from None
    except KeyboardInterrupt:
        raise CommandError("interrupted; everything was ended") from None
    out.write(result.as_json() if options["report"] == "json" else result.as_text())
    if not result.ok:
        out.write(excerpts(trial.history, result.violations))
        raise CommandError(f"{len(result.violations)} promises were broken; seed {plan.seed}")
