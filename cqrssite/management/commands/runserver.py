"""Runs the gateway for development: daphne's runserver, with the gateway open from before the server accepts."""

import asyncio
from typing import Any

from daphne.management.commands.runserver import Command as DaphneCommand
from daphne.server import Server, twisted_loop
from django.core.management.base import CommandError

from cqrs import conf
from cqrs.transport.addresses import CannotListen, check_free
from cqrs.transport.process import StartError
from cqrssite.gateway import project_gateway
from cqrssite.wiring import check_migrated


class GatewayServer(Server):
    """Daphne knows no lifespan: the gateway is opened and closed around its run, on the loop it runs on."""

    def run(self) -> None:
        asyncio.set_event_loop(twisted_loop)
        gateway = project_gateway().open()
        twisted_loop.run_until_complete(gateway.__aenter__())
        try:
            super().run()
        finally:
            twisted_loop.run_until_complete(gateway.__aexit__(None, None, None))


class Command(DaphneCommand):
    help = "Runs the gateway for development, by default at its own address; reloads when code changes."
    server_cls = GatewayServer

    def handle(self, *args: Any, **options: Any) -> None:
        options["addrport"] = options["addrport"] or conf.current().gateway_bind
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        # Checked here, in the main thread: the reloader runs the server in another, whose errors end in tracebacks.
        host = f"[{self.addr}]" if self._raw_ipv6 else self.addr
        try:
            check_free(f"{host}:{self.port}")
            check_migrated()
            project_gateway()
        except CannotListen as error:
            raise CommandError(f"{error}; {conf.called('gateway_bind')} says where") from None
        except StartError as error:
            raise CommandError(str(error)) from error
        super().run(**options)
