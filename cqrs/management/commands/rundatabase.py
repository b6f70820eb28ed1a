"""`manage.py rundatabase`: the database service."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cqrs import conf
from cqrs.management import arguments
from cqrs.management.service import run_service
from cqrs.store.server import DatabaseServer
from cqrs.store.services import Service


class Command(BaseCommand):
    help = "Runs the database service: applies commands, answers reads, streams notices."
    # Services beside the kit's own, for clients that speak another contract.
    contract: Sequence[Service] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_address(parser, "--bind", conf.current().database_bind)
        parser.add_argument("--serve", choices=["read", "write", "all"], default="all", help="which of its services")
        parser.add_argument("--memory", action="store_true", help="keep the rows in memory, until it ends")

    def handle(self, *_arguments: Any, bind: str, serve: str, memory: bool, **_options: Any) -> None:
        if memory and serve != "all":
            raise CommandError("--memory keeps the rows in one process: it goes with --serve all alone")
        own = conf.current()
        tokens = {"read_token": own.read_token, "write_token": own.write_token}
        keep = timedelta(days=own.keep_notices_days)
        server = DatabaseServer(bind, serve, contract=self.contract, memory=memory, keep=keep, **tokens)
        run_service(server.run(self.stdout.write), "database_bind")
