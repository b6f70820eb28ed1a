"""The databases that the kit runs on, each behind one port (`cqrs.engines.base.Engine`)."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.utils.module_loading import import_string

from cqrs.engines.base import Engine, Lock, Violation
from cqrs.transport.process import StartError

__all__ = ["Engine", "Lock", "Violation", "engine_of", "select_in"]

# By Django's word for the vendor. Loaded when first used: a driver that nobody needs is not installed.
_ENGINES = {"sqlite": "cqrs.engines.sqlite.SqliteEngine", "postgresql": "cqrs.engines.postgresql.PostgresqlEngine"}


def engine_of(alias: str) -> Engine:
    """The engine of a database of Django's settings. Raises StartError for one that the kit does not run on."""
    return _engine(alias, connections[alias].vendor)


def select_in(cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """As `Engine.select_in`, by the engine of the cursor's connection."""
    return engine_of(cursor.db.alias).select_in(cursor, statement, values)


@functools.cache
def _engine(alias: str, vendor: str) -> Engine:
    if vendor not in _ENGINES:
        raise StartError(f"the database {alias!r} is on {vendor}: commands need SQLite, or PostgreSQL 15 or later")
    made: Engine = import_string(_ENGINES[vendor])(alias)
    return made
