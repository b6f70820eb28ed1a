"""Bugs, each planted in a real service by a program that is run in its place. The chaos must catch every one."""

import os
import sys
from collections.abc import Callable


def manage(plant: Callable[[], None]) -> None:
    """`manage.py` with a bug: plants it, then runs the management command of the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
    import django

    django.setup()
    plant()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])
