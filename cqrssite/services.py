"""The five services as processes of one machine: how to start each, what it needs, how it shows health."""

import asyncio
import sys
from collections.abc import Collection, Sequence

from cqrssite.settings import BASE_DIR, Environment
from cqrssite.stack import Service
from protocol.lifecycle import is_healthy, split_address

NAMES = ("broker", "database", "reader", "writer", "gateway")


def services(contacts: Environment, *, memory: bool = False, without: Collection[str] = ()) -> list[Service]:
    """The services in the order they are started.

    memory: the database service keeps its contacts in memory.
    without: names of services that run elsewhere; they are waited for at their address.
    """

    def command(name: str, *arguments: str) -> Sequence[str]:
        if name in without:
            return ()
        return (sys.executable, "-u", str(BASE_DIR / "manage.py"), f"run{name}", *arguments)

    return [
        Service("broker", command("broker"), lambda: accepts(contacts.broker_address), contacts.broker_bind),
        Service(
            "database",
            command("database", *(["--memory"] if memory else [])),
            lambda: is_healthy(contacts.database_read_address),
            contacts.database_bind,
        ),
        Service(
            "reader",
            command("reader"),
            lambda: is_healthy(contacts.reader_address),
            contacts.reader_bind,
            needs=["database"],
        ),
        # Listens nowhere: it is as healthy as its process, and gateways hear of it over the broker.
        Service("writer", command("writer"), _at_once, needs=["broker", "database"]),
        Service(
            "gateway",
            command("gateway"),
            lambda: answers(contacts.gateway_bind, "/readyz"),
            contacts.gateway_bind,
            needs=["broker", "reader"],
        ),
    ]


async def _at_once() -> bool:
    return True


async def accepts(address: str) -> bool:
    """Whether something accepts TCP connections at `address` within a second."""
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(*split_address(address))
    except OSError:
        return False
    writer.close()
    return True


async def answers(address: str, path: str) -> bool:
    """Whether an HTTP GET of `path` is answered with 200 within two seconds."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(*split_address(address))
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except OSError:
        return False
    return status.split(b" ")[1:2] == [b"200"]


def urls(contacts: Environment) -> dict[str, str]:
    """What a person may want to open."""
    root = f"http://{contacts.gateway_bind}"
    return {
        "GraphiQL": f"{root}/graphql",
        "admin": f"{root}/admin/ (first user: manage.py createfirstuser)",
        "probes": f"{root}/healthz {root}/readyz",
    }
