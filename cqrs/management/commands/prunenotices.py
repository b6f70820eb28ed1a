"""`manage.py prunenotices`: what the database service does by itself every hour."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from cqrs import conf
from cqrs.store import notices
from cqrs.store.database import now_ms


class Command(BaseCommand):
    help = "Deletes the notices of long ago, but for the newest. Keep them longer than commands are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        days = conf.current().keep_notices_days
        parser.add_argument("--days", type=float, default=days, help=f"keep those of so many days (default: {days:g})")

    def handle(self, *, days: float, **_options: Any) -> None:
        least = conf.current().keep_commands_days
        if not days > least:
            raise CommandError(f"--days must be more than commands are kept, which is {least:g}, not {days:g}")
        total = 0
        try:
            before = now_ms() - timedelta(days=days) // timedelta(milliseconds=1)
            while pruned := notices.prune(before):
                total += pruned
        except (DatabaseError, OverflowError) as error:
            raise CommandError(f"pruned {total} notices, then failed: {' '.join(str(error).split())}") from error
        self.stdout.write(f"pruned {total} notices")
