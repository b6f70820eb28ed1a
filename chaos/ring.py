"""Processes that are each a whole ring, on one database."""

import functools

from chaos.system import System
from cqrs.transport.grpc_server import is_healthy
from cqrssite.stack.health import answers_http


class RingSystem(System):
    """As many rings as gateways, with nothing between them but the database."""

    async def show_notices(self) -> str:
        # No process of a ring serves its notices to others: one that only reads is started beside them.
        read = self._manage("database", "rundatabase", "--serve", "read")
        self._add("notices", read, lambda: is_healthy(self._database))
        await self.processes["notices"].start()
        await self.processes["notices"].wait_up()
        return self._database

    async def _lay_out(self) -> None:
        for name, address in self.gateways.items():
            up = functools.partial(answers_http, address, "/healthz")
            self._add(name, self._manage("ring", "runring"), up, gateway_bind=address)
