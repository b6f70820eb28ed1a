"""Services in which one thing is amiss, each a program that is run in the place of `manage.py`.

What is amiss is told to them by files in the folder of the stack, while they run.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path


def manage(alter: Callable[[], None]) -> None:
    """`manage.py` altered: runs the management command of the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
    import django

    django.setup()
    alter()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])


def program(name: str, *arguments: str) -> list[str]:
    """The command line of a management command, run by the program of this name."""
    return [sys.executable, "-m", f"{__name__}.{name}", *arguments]


def told(name: str) -> str:
    """What a test wrote to the file of this name; nothing as long as there is none."""
    file = Path(os.environ["CONTACTS_VAR"]) / name
    return file.read_text() if file.exists() else ""
