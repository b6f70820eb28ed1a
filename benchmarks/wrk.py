"""Load over HTTP by `wrk`: a closed loop of 64 connections."""

import asyncio
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Load

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("wrk.lua")


class LoadFailed(Exception):
    """A load could not be sent, or was not answered as it should be: its figures would say nothing."""


def missing() -> str:
    """Why there can be no load; empty when there can."""
    return "" if shutil.which("wrk") else "wrk is not installed (apt install wrk)"


async def load(
    addresses: Sequence[str],
    *,
    seconds: float,
    body: str = "",
    ids: Path | None = None,
    folder: Path,
    connections: int = CONNECTIONS,
) -> Load:
    """Sends requests to all of the addresses ("host:port") for so many whole seconds; GET where there is no body.

    body: the JSON of a GraphQL request, with "~U~" where a unique text belongs and "~I~" for a random line of `ids`.
    Raises LoadFailed when a request is answered with another status than 2xx, or not at all.
    """
    environment = os.environ | {"WRK_UNIQUE": secrets.token_hex(4)}
    environment["WRK_PORTS"] = ",".join(address.rpartition(":")[2] for address in addresses)
    if body:
        file = folder / "body.json"
        file.write_text(body)
        environment["WRK_BODY"] = str(file)
    if ids is not None:
        environment["WRK_IDS"] = str(ids)
    command = ["wrk", "-t", str(len(addresses)), "-c", str(connections), "-d", f"{round(seconds)}s", "--timeout", "10s"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "-s",
        str(_SCRIPT),
        f"http://{addresses[0]}/graphql",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return parsed(output.decode(errors="replace"))


def parsed(output: str) -> Load:
    """What `wrk` printed. Raises LoadFailed when it tells of anything but answers with 2xx."""
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        raise LoadFailed(f"wrk says no result:\n{output}")
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    wrong = result["status"] + result["sockets"] + result["timeouts"]
    if not wrong and not result["requests"]:
        raise LoadFailed("no request was answered before the load ended")
    if wrong:
        raise LoadFailed(
            f"of {result['requests']} requests {result['status']} were answered with an error, {result['sockets']} met "
            f"a broken connection and {result['timeouts']} were not answered within 10 s"
        )
    return Load(
        requests=result["requests"],
        seconds=result["microseconds"] / 1_000_000,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
    )
