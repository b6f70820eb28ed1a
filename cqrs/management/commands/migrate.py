"""`manage.py migrate`: Django's, one process at a time on a database."""

import contextlib
from typing import Any

from django.core.management.commands import migrate

from cqrs.engines import engine_of
from cqrs.transport.process import StartError


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            alone = engine_of(options["database"]).migrating()
        except StartError:
            # A database of a team's own, on another engine: no service of ours starts on it.
            alone = contextlib.nullcontext()
        with alone:
            super().handle(*args, **options)
