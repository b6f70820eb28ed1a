"""The five services as processes of one machine: how to start each, what it needs, how it shows health."""

import sys
from collections.abc import Collection, Sequence

from cqrs.transport.grpc_server import is_healthy
from cqrssite.environment import BASE_DIR, Environment
from cqrssite.stack.health import answers_http, answers_mqtt
from cqrssite.stack.supervisor import Service

NAMES = ("broker", "database", "reader", "writer", "gateway")


def services(
    contacts: Environment, *, gateways: int = 1, memory: bool = False, without: Collection[str] = ()
) -> list[Service]:
    """The services in the order they are started.

    gateways: processes of the gateway, which share its address; of more than one each has its number in its name.
    memory: the database service keeps its contacts in memory.
    without: names of services that run elsewhere; they are waited for at their address.
    """

    def command(name: str, *arguments: str) -> Sequence[str]:
        if name in without:
            return ()
        return (sys.executable, "-u", str(BASE_DIR / "manage.py"), f"run{name}", *arguments)

    one = gateways == 1 or "gateway" in without
    names = ["gateway"] if one else [f"gateway-{number}" for number in range(1, gateways + 1)]
    return [
        Service("broker", command("broker"), lambda: answers_mqtt(contacts.broker_address), contacts.broker_bind),
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
        *(
            Service(
                name,
                command("gateway"),
                lambda: answers_http(contacts.gateway_bind, "/readyz"),
                contacts.gateway_bind,
                healthy_at=_is_ready,
                needs=["broker", "reader"],
            )
            for name in names
        ),
    ]


async def _is_ready(address: str) -> bool:
    return await answers_http(address, "/readyz")


async def _at_once() -> bool:
    return True


def urls(contacts: Environment) -> dict[str, str]:
    """What a person may want to open."""
    root = f"http://{contacts.gateway_bind}"
    return {
        "GraphiQL": f"{root}/graphql",
        "admin": f"{root}/admin/ (first user: manage.py createfirstuser)",
        "probes": f"{root}/healthz {root}/readyz",
    }
