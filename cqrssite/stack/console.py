"""Lines of several services on one terminal, each behind the name of its service."""

import os
from collections.abc import Sequence
from typing import TextIO

from django.utils import termcolors

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")


def wants_colour(out: TextIO) -> bool:
    """On a terminal, or when FORCE_COLOR is set; never when NO_COLOR is."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or out.isatty()


class Console:
    """Prints each line behind the padded, coloured name of its service."""

    def __init__(self, services: Sequence[str], out: TextIO, *, colour: bool) -> None:
        width = max(map(len, services))
        self._out = out
        self._prefixes = {}
        for number, service in enumerate(services):
            prefix = f"{service:{width}} |"
            if colour:
                prefix = termcolors.colorize(prefix, fg=_COLOURS[number % len(_COLOURS)])
            self._prefixes[service] = prefix

    def write_line(self, service: str, line: str) -> None:
        self._out.write(f"{self._prefixes[service]} {line}\n")
        self._out.flush()
