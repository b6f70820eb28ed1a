"""The settings as `.env.example` and README show them, made from the fields themselves."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cqrssite.environment import BASE_DIR, PREFIX, Environment


def settings() -> Iterator[tuple[str, str, str]]:
    """Name, default as it would be written in the environment, and description of each setting."""
    for name, field in Environment.model_fields.items():
        yield PREFIX + name.upper(), _written(field.default), field.description or ""


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def env_file() -> str:
    """An environment file with every setting at its default, commented out."""
    parts = (
        f"# {description}\n#{name}={default}\n"
        for name, default, description in settings()
        if name != f"{PREFIX}ENV_FILE"  # which says where this very file is
    )
    return "# Copy to .env and change what you need. The environment wins over .env.\n\n" + "\n".join(parts)


def table() -> str:
    """A table in Markdown."""
    rows = (
        f"| `{name}` | {f'`{default}`' if default else ''} | {description} |"
        for name, default, description in settings()
    )
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows]) + "\n"


class Command(BaseCommand):
    help = "Prints all settings as an environment file."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--table", action="store_true", help="as a table in Markdown")
        parser.add_argument("--check", action="store_true", help="only check that .env.example and README are current")

    def handle(self, **options: Any) -> None:
        if not options["check"]:
            self.stdout.write(table() if options["table"] else env_file(), ending="")
            return
        if (BASE_DIR / ".env.example").read_text() != env_file():
            raise CommandError(".env.example is not current: manage.py printsettings > .env.example")
        if table() not in (BASE_DIR / "README.md").read_text():
            raise CommandError("README's table of settings is not current: manage.py printsettings --table")
