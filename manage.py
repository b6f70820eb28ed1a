#!/usr/bin/env python
"""Django's command line: `python manage.py help` lists the services among its commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cqrssite.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise ImportError(
            "Couldn't import Django. Are you sure it's installed and available on your PYTHONPATH environment variable?"
            " Did you forget to activate a virtual environment? (`make run` makes one in .venv.)"
        ) from error

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
