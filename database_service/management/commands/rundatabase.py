"""`manage.py rundatabase`: the database service."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from cqrs.store.server import DatabaseServer
from cqrs.transport.addresses import CannotListen
from cqrs.transport.process import StartError, run
from database_service.go_contract import GO_CONTRACT


class Command(BaseCommand):
    help = "Runs the database service: applies commands, answers reads, streams notices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.CONTACTS.database_bind, help="host:port (default: %(default)s)")
        parser.add_argument("--serve", choices=["read", "write", "all"], default="all", help="which of its services")
        parser.add_argument("--memory", action="store_true", help="keep the contacts in memory, until it ends")

    def handle(self, *args: Any, bind: str, serve: str, memory: bool, **options: Any) -> None:
        if memory and serve != "all":
            raise CommandError("--memory keeps contacts in one process: it goes with --serve all alone")
        contacts = settings.CONTACTS
        tokens = {"read_token": contacts.read_token, "write_token": contacts.write_token}
        keep = timedelta(days=contacts.keep_notices_days)
        server = DatabaseServer(bind, serve, contract=GO_CONTRACT, memory=memory, keep=keep, **tokens)
        try:
            run(server.run(self.stdout.write))
        except CannotListen as error:
            raise CommandError(f"{error}; CONTACTS_DATABASE_BIND says where") from None
        except StartError as error:
            raise CommandError(str(error)) from error
