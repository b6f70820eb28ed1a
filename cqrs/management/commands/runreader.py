"""`manage.py runreader`: the reader."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from google.protobuf.descriptor import ServiceDescriptor

from cqrs import conf
from cqrs.management import arguments
from cqrs.management.service import run_service
from cqrs.query.reader import ReaderServer


class Command(BaseCommand):
    help = "Serves the read side, from the database service. May be started before it."
    requires_system_checks: list[str] = []
    # Services of a contract that are served besides.
    contracts: Sequence[ServiceDescriptor] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        own = conf.current()
        arguments.add_address(parser, "--bind", own.reader_bind)
        arguments.add_address(parser, "--database", own.database_read_address)

    def handle(self, *_arguments: Any, bind: str, database: str, **_options: Any) -> None:
        token = conf.current().read_token
        server = ReaderServer(bind, database, contracts=self.contracts, token=token, database_token=token)
        run_service(server.run(), "reader_bind")
