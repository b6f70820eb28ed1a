"""`manage.py runstack`: broker, database, reader, writer and gateway of this machine."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from cqrs import conf
from cqrs.transport.process import StartError, run
from cqrssite.stack.console import Console, wants_colour
from cqrssite.stack.init import run_as_child_of_init
from cqrssite.stack.services import NAMES, services, urls
from cqrssite.stack.supervisor import Stack


class Command(BaseCommand):
    help = "Runs all services: applies migrations, starts each, restarts what dies, and ends all on Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--memory", action="store_true", help="keep aggregates in memory only")
        parser.add_argument(
            "--without",
            action="append",
            default=[],
            choices=NAMES,
            metavar="NAME",
            help=f"do not start this service, it runs elsewhere ({', '.join(NAMES)}); may be repeated",
        )
        parser.add_argument(
            "--gateways",
            type=int,
            default=conf.current().gateways,
            choices=range(1, conf.MAX_GATEWAYS + 1),
            metavar="N",
            help="gateway processes, all at the same address (%(default)s)",
        )

    def handle(self, **options: Any) -> None:
        run_as_child_of_init()
        try:
            for database in settings.DATABASES:
                call_command("migrate", database=database, verbosity=0)
        except DatabaseError as error:
            raise CommandError(f"cannot migrate: {error}") from error
        started = services(
            conf.current(), gateways=options["gateways"], memory=options["memory"], without=options["without"]
        )
        console = Console([service.name for service in started], sys.stdout, colour=wants_colour(sys.stdout))
        stack = Stack(started, on_line=console.write_line, on_ready=self._write_urls)
        try:
            run(stack.run())
        except StartError as error:
            raise CommandError(str(error)) from None

    def _write_urls(self, seconds: float) -> None:
        lines = (f"  {page:9} {url}" for page, url in urls(conf.current()).items())
        self.stdout.write("\n".join([f"Ready in {seconds:.1f} s:", *lines]))
