"""`manage.py test`: runs the suite, which is pytest's."""

import importlib.util
import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError

# Django's way of naming a test: a module, then a class and a test.
_DOTTED = re.compile(r"[a-z_]\w*(\.\w+)*")


class PytestRunner:
    """Django's test runner in name: hands labels and options to pytest, which ends with its own status."""

    def __init__(self, *, failfast: bool = False, verbosity: int = 1, keepdb: bool = False, **_others: Any) -> None:
        self._options = ["--exitfirst"] * failfast + ["--reuse-db"] * keepdb
        self._options += {0: ["--quiet"], 1: []}.get(verbosity, ["--verbose"])

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--failfast", action="store_true", help="stop at the first failure")
        parser.add_argument("--keepdb", action="store_true", help="keep the test databases for the next run")

    def run_tests(self, test_labels: Sequence[str], **_others: Any) -> int:
        """The exit status of pytest: 0 where all passed, another where none was found. Raises CommandError."""
        if importlib.util.find_spec("pytest") is None:
            raise CommandError("the tests need pytest and what is in requirements-dev.txt: make test sets it up")
        command = [sys.executable, "-m", "pytest", *self._options, *map(_path, test_labels)]
        # In a process of its own, and whatever a .env says: as `make test` does.
        return subprocess.run(command, env=os.environ | {"CONTACTS_ENV_FILE": ""}, check=False).returncode


def _path(label: str) -> str:
    """A label as pytest has it: "tests.unit.kit.test_conf.test_x" is tests/unit/kit/test_conf.py::test_x."""
    if not _DOTTED.fullmatch(label):
        return label
    parts = label.split(".")
    for count in range(len(parts), 0, -1):
        path = os.path.join(*parts[:count])
        for found in (path, f"{path}.py"):
            if os.path.exists(found):
                return "::".join([found, *parts[count:]])
    return label
