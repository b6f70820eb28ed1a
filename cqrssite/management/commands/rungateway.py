"""Runs the gateway for production: uvicorn with the application of `cqrssite.asgi`."""

import asyncio
import logging
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from cqrs.transport.addresses import split_address
from cqrssite.serving.spare_sockets import SpareSockets
from cqrssite.serving.write_corking import CoalescingProtocol

log = logging.getLogger("cqrssite.graphql")

# A WebSocket message over this is refused with close code 1009, in bytes.
MAX_SOCKET_MESSAGE = 1024 * 1024


class GatewayServer(uvicorn.Server):
    """Says in one line when it serves. spare: takes connections at these sockets when nobody else does."""

    def __init__(self, config: uvicorn.Config, spare: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self._spare = SpareSockets(spare, self._new_protocol)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._spare.open()
            log.info("the gateway serves on http://%s:%d", self.config.host, self.config.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._spare.close()
        await super().shutdown(sockets)

    def _new_protocol(self) -> asyncio.Protocol:
        return CoalescingProtocol(self.config, self.server_state, self.lifespan.state)


class Command(BaseCommand):
    help = "Runs the gateway on uvicorn. (runserver is for development: it reloads, and serves with daphne.)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.CONTACTS.gateway_bind, help="host:port to listen on")
        parser.add_argument(
            "--fd", type=int, action="append", metavar="NUMBER", help="inherited socket that listens there already"
        )
        parser.add_argument(
            "--spare-fd",
            type=int,
            action="append",
            default=[],
            metavar="NUMBER",
            help="inherited socket of another gateway, whose connections are taken when that does not take them",
        )

    def handle(self, **options: Any) -> None:
        host, port = split_address(options["bind"])
        config = uvicorn.Config(
            "cqrssite.asgi:application",
            interface="asgi3",
            lifespan="on",
            host=host,
            port=port,
            ws_max_size=MAX_SOCKET_MESSAGE,
            # Notices are short: compressing each, for each socket, costs more than it saves, and 40 KB a socket.
            ws_per_message_deflate=False,
            # The consumer pings by itself, as graphql-transport-ws has it.
            ws_ping_interval=None,
            timeout_graceful_shutdown=5,
            access_log=False,
            server_header=False,
            # Only Django needs them: see cqrssite.asgi.
            proxy_headers=False,
            http=CoalescingProtocol,
            # Logs as the settings say, like all services.
            log_config=None,
        )
        try:
            sockets = [socket.socket(fileno=number) for number in options["fd"]] if options["fd"] else None
            spare = [socket.socket(fileno=number) for number in options["spare_fd"]]
        except OSError as error:
            raise CommandError(f"--fd or --spare-fd is no socket: {error}") from error
        server = GatewayServer(config, spare)
        server.run(sockets)
        if not server.started:
            sys.exit(1)
