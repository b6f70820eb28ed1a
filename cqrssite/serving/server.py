"""The gateway's server: uvicorn, set up for the application that ASGI_APPLICATION names.

This package holds all that leans on uvicorn's inside; requirements.txt pins uvicorn to the minor for its sake.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from cqrs.transport.addresses import CannotListen, bind_sockets, split_address
from cqrssite.gateway import project_gateway
from cqrssite.serving.write_corking import CorkedHttpProtocol

log = logging.getLogger("cqrssite.graphql")

MAX_SOCKET_MESSAGE = 1024 * 1024
"""Bytes of a WebSocket message; a larger one is refused with close code 1009."""
GRACE = 5
"""Seconds that requests under way have to end once the server stops."""


class GatewayServer(uvicorn.Server):
    """Serves the gateway at `bind` until a signal; logs one line once it does.

    application: makes the ASGI application. reuse_port: other gateways may listen there too. The system spreads the
    connections over those that live: each holds its own listening socket, so that a killed gateway leaves none behind
    in which connections would wait.
    """

    def __init__(
        self, bind: str, *, reuse_port: bool = False, application: Callable[[], Any] = project_gateway
    ) -> None:
        host, port = split_address(bind)
        super().__init__(
            uvicorn.Config(
                application,
                factory=True,
                interface="asgi3",
                lifespan="on",
                host=host,
                port=port,
                http=CorkedHttpProtocol,
                ws_max_size=MAX_SOCKET_MESSAGE,
                # Notices are short: compressing each, for each socket, costs more than it saves, and 40 KB a socket.
                ws_per_message_deflate=False,
                # The consumer pings by itself, as graphql-transport-ws has it.
                ws_ping_interval=None,
                timeout_graceful_shutdown=GRACE,
                access_log=False,
                server_header=False,
                # Only Django needs them: see cqrssite.gateway.
                proxy_headers=False,
                # Logs as the settings say, like all services.
                log_config=None,
            )
        )
        self._bind = bind
        self._reuse_port = reuse_port

    def serve_until_signal(self) -> bool:
        """Whether it came to serve at all. Raises CannotListen, StartError."""
        # Bound before the application is loaded, so that a port in use is reported at once.
        self.run(bind_sockets(self._bind, reuse_port=self._reuse_port))
        return self.started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            # Another process listens there since this one was started.
            await self.lifespan.shutdown()
            raise CannotListen(self._bind, error) from error
        if self.started:
            log.info("the gateway serves on http://%s", self._bind)
