from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from cqrs import conf
from cqrs.journal import rows
from cqrs.journal.clock import now
from cqrs.transport.backoff import describe


class Command(BaseCommand):
    help = "Deletes the commands that were settled long ago, and their idempotency keys with them."

    def add_arguments(self, parser: CommandParser) -> None:
        days = conf.current().keep_commands_days
        parser.add_argument("--days", type=float, default=days, help=f"keep those of so many days (default: {days:g})")

    def handle(self, *, days: float, **_options: Any) -> None:
        if not days >= 0:
            raise CommandError(f"--days must be 0 or more, not {days:g}")
        total = 0
        try:
            while pruned := rows.prune(now() - timedelta(days=days)):
                total += pruned
        except (DatabaseError, OverflowError) as error:
            raise CommandError(f"pruned {total} commands, then failed: {describe(error)}") from error
        self.stdout.write(f"pruned {total} commands")
