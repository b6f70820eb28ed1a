"""`manage.py runreader`: the reader."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from contacts_read.go_contract import SERVICE
from cqrs.query.reader import ReaderServer
from cqrs.transport.addresses import CannotListen
from cqrs.transport.process import StartError, run


class Command(BaseCommand):
    help = "Serves the read side, from the database service. May be started before it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        contacts = settings.CONTACTS
        parser.add_argument("--bind", default=contacts.reader_bind, help="host:port to listen on")
        parser.add_argument(
            "--database", default=contacts.database_read_address, help="host:port of the database service"
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        token = settings.CONTACTS.read_token
        server = ReaderServer(
            options["bind"], options["database"], contracts=[SERVICE], token=token, database_token=token
        )
        try:
            run(server.run())
        except CannotListen as error:
            raise CommandError(f"{error}; CONTACTS_READER_BIND says where") from None
        except StartError as error:
            raise CommandError(str(error)) from None
