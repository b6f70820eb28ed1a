"""`manage.py chaos`: the proof, which is no part of the site."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

try:
    from chaos import command
except ImportError as error:
    # Django makes one line only of errors from `handle`, and this command has no arguments without the proof.
    sys.exit(f"CommandError: the proof needs `pip install contacts-cqrs[chaos]` ({error})")


class Command(BaseCommand):
    help = "Kills, stops and freezes the real processes under load, and checks that every promise was kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        command.add_arguments(parser)

    def handle(self, **options: Any) -> None:
        command.run(options, self.stdout, self.stderr)
