"""The same schema as people would build it: graphene-django's GraphQLView and the ORM, without any queue."""

import sys
from collections.abc import AsyncIterator, Callable, Sequence

from benchmarks import documents
from benchmarks.bench import Bench, uvicorn
from benchmarks.figures import Figure
from benchmarks.stock.database import make

_APPLICATION = "benchmarks.stock.asgi:application"
_CONTACTS = 1000
# Requests before each load: some hundred take it seconds.
_WARM = 50


async def stock(bench: Bench) -> AsyncIterator[Figure]:
    """On daphne, which Channels recommends, and on uvicorn."""
    servers: dict[str, Callable[[str, str], Sequence[str]]] = {
        "daphne": lambda host, port: (
            *(sys.executable, "-m", "daphne", "-b", host, "-p", port, "--no-server-name", "-v", "0", _APPLICATION),
        ),
        "uvicorn": uvicorn(_APPLICATION),
    }
    for name, command in servers.items():
        if bench.quick and name != "daphne":
            return
        folder = bench.folder()
        ids = make(folder / "stock.sqlite3", folder / "ids", _CONTACTS)
        environment = {"DJANGO_SETTINGS_MODULE": "benchmarks.stock.settings"}
        environment["STOCK_DATABASE"] = str(folder / "stock.sqlite3")
        async with bench.server(command, **environment) as served:
            for key, label, body in (
                ("contact", "contact(id)", documents.CONTACT),
                ("list", "listContacts(10)", documents.LIST),
                ("add", "addContact, committed", documents.STOCK_ADD),
            ):
                load = await bench.load([served.address], body, seconds=bench.seconds(2, 5), ids=ids, warm=_WARM)
                for figure in load.figures(f"stock.{name}_{key}", f"graphene-django on {name}: {label}"):
                    yield figure
