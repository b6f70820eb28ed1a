"""The database alone: commands applied and reads answered by calls in one process, without any hop."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Unit
from benchmarks.ring import environment_of
from cqrs.transport.process import StartError
from cqrssite.environment import BASE_DIR

_LABELS = {
    "apply_1": "database: commands applied, one a transaction",
    "apply_100": "database: commands applied, 100 a transaction",
    "apply_1000": "database: commands applied, 1,000 a transaction",
    "contact": "database: contacts read, one a query",
    "contact_30": "database: contacts read, 30 a query",
    "list": "database: lists of ten read",
}


async def database(bench: Bench) -> AsyncIterator[Figure]:
    """As `benchmarks.apply` measures it, with a thousand contacts."""
    var = bench.folder() / "var"
    await bench.databases(var, contacts=1000)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.apply",
        cwd=BASE_DIR,
        env=environment_of(var=var),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await process.communicate()
    if process.returncode:
        raise StartError(f"the database cannot be measured:\n{error.decode(errors='replace')}")
    for key, rate in json.loads(output).items():
        yield Figure(f"database.{key}", _LABELS[key], rate, Unit.PER_SECOND)
    shutil.rmtree(var)
