"""Runs the gateway for production: uvicorn with the application of `cqrssite.asgi`."""

from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from protocol.lifecycle import split_address

# A WebSocket message over this is refused with close code 1009, in bytes.
MAX_SOCKET_MESSAGE = 1024 * 1024


class Command(BaseCommand):
    help = "Runs the gateway on uvicorn. (runserver is for development: it reloads, and serves with daphne.)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.CONTACTS.gateway_bind, help="host:port to listen on")

    def handle(self, **options: Any) -> None:
        host, port = split_address(options["bind"])
        uvicorn.run(
            "cqrssite.asgi:application",
            interface="asgi3",
            lifespan="on",
            host=host,
            port=port,
            ws_max_size=MAX_SOCKET_MESSAGE,
            timeout_graceful_shutdown=5,
            access_log=False,
            # Logs as the settings say, like all services.
            log_config=None,
        )
