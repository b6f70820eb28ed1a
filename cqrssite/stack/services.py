"""The five services as processes of one machine: how to start each, what it needs, how it shows health."""

import sys
from collections.abc import Awaitable, Callable, Collection, Sequence

from cqrs import conf
from cqrs.transport.grpc_server import is_healthy
from cqrssite.stack.health import answers_http, answers_mqtt
from cqrssite.stack.supervisor import Service

NAMES = ("broker", "database", "reader", "writer", "gateway")


def services(
    own: conf.Settings, *, gateways: int = 1, memory: bool = False, without: Collection[str] = ()
) -> list[Service]:
    """The services in the order they are started, each a management command of the project.

    gateways: processes of the gateway, which share its address; of more than one each has its number in its name.
    memory: the database service keeps its rows in memory.
    without: names of services that run elsewhere; they are waited for at their address.
    """

    def service(
        kind: str,
        healthy: Callable[[], Awaitable[bool]],
        *arguments: str,
        bind: str = "",
        needs: Sequence[str] = (),
        number: str = "",
    ) -> Service:
        command = (sys.executable, "-u", "-m", "django", f"run{kind}", *arguments)
        setting = conf.called(f"{kind}_bind")
        return Service(kind + number, () if kind in without else command, healthy, bind, setting, needs)

    several = gateways > 1 and "gateway" not in without
    return [
        service("broker", lambda: answers_mqtt(own.broker_address), bind=own.broker_bind),
        service(
            "database",
            lambda: is_healthy(own.database_read_address),
            *(["--memory"] if memory else []),
            bind=own.database_bind,
        ),
        service("reader", lambda: is_healthy(own.reader_address), bind=own.reader_bind, needs=["database"]),
        # The writer listens nowhere: it is as healthy as its process.
        service("writer", _always, needs=["broker", "database"]),
        *(
            service(
                "gateway",
                lambda: answers_http(own.gateway_bind, "/readyz"),
                *(["--reuse-port"] if several else []),
                bind=own.gateway_bind,
                needs=["broker", "reader"],
                number=number,
            )
            for number in ([f"-{number}" for number in range(1, gateways + 1)] if several else [""])
        ),
    ]


async def _always() -> bool:
    return True


def urls(own: conf.Settings) -> dict[str, str]:
    """The addresses that a person may want to open."""
    # A browser cannot open the address that stands for all of them.
    root = f"http://{own.gateway_bind}".replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
    return {
        "GraphiQL": f"{root}/graphql",
        "admin": f"{root}/admin/ (first user: manage.py createfirstuser)",
        "probes": f"{root}/healthz {root}/readyz",
    }
