"""`manage.py rungateway`: the gateway for production."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cqrs import conf
from cqrs.management import arguments
from cqrs.transport.addresses import CannotListen
from cqrs.transport.process import StartError
from cqrssite.gateway import project_gateway
from cqrssite.serving.server import GatewayServer
from cqrssite.wiring import check_migrated


class Command(BaseCommand):
    help = "Runs the gateway on uvicorn. (runserver is for development: it reloads, and serves with daphne.)"

    # Makes the ASGI application.
    application = staticmethod(project_gateway)

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_address(parser, "--bind", conf.current().gateway_bind)
        parser.add_argument("--reuse-port", action="store_true", help="other gateways may listen there too")

    def handle(self, *_arguments: Any, bind: str, reuse_port: bool, **_options: Any) -> None:
        try:
            check_migrated()
            served = GatewayServer(bind, reuse_port=reuse_port, application=self.application).serve_until_signal()
        except CannotListen as error:
            raise CommandError(f"{error}; {conf.called('gateway_bind')} says where") from None
        except StartError as error:
            raise CommandError(str(error)) from None
        if not served:
            sys.exit(1)
