"""From `runstack` to ready."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Unit
from benchmarks.ring import environment_of
from chaos.ports import free_address
from cqrs.transport.process import StartError
from cqrssite.environment import BASE_DIR

_WITHIN = 90.0


async def start(bench: Bench) -> AsyncIterator[Figure]:
    """The first start, which makes the databases, and the second."""
    environment = environment_of(
        var=bench.folder(),
        broker_bind=free_address(),
        database_bind=free_address(),
        reader_bind=free_address(),
        gateway_bind=free_address(),
    )
    for key, label in (("start.first", "first start of the stack"), ("start.next", "start of the stack")):
        if bench.quick and key == "start.next":
            return
        yield Figure(key, label, await _seconds_until_ready(environment), Unit.SECONDS)


async def _seconds_until_ready(environment: dict[str, str]) -> float:
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "runstack",
        cwd=BASE_DIR,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(_WITHIN):
            async for line in process.stdout:
                said += line
                if line.startswith(b"Ready in"):
                    return time.monotonic() - started
        raise StartError(f"the stack ended:\n{said.decode(errors='replace')}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()
