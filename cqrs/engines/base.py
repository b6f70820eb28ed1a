"""What commands and notices ask of a database beyond Django's ORM: the port that each engine implements."""

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

from django.apps import apps as registry
from django.db import Error, connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor

from cqrs.transport.process import StartError

# Seconds between two notes of `changes` at most, so that a lost signal delays a notice and no more.
LATEST = 5.0
# Names of missing migrations that a sentence holds.
_SHOWN = 3


class Lock(enum.IntEnum):
    """The locks there are. The values are their keys on PostgreSQL, of our choosing."""

    JOURNAL = 7_263_114_905
    STORE = 7_263_114_906
    MIGRATIONS = 7_263_114_907


class Violation(NamedTuple):
    """A constraint of a model that a row breaks: its message, and the reason of the rejection."""

    message: str
    reason: Literal["CONFLICT", "INVALID"]


class Engine(ABC):
    """One database of Django's settings, on one engine. Has no state: any thread may use it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection."""
        return connections[self.alias]

    @abstractmethod
    def lock(self, cursor: CursorWrapper, lock: Lock) -> None:
        """Takes a lock until the transaction ends: no other transaction has it meanwhile.

        Of a process that holds it and does nothing, the lock is free again within seconds. Raises OperationalError when
        the lock is not free within seconds.
        """

    @abstractmethod
    def migrating(self) -> AbstractContextManager[None]:
        """Keeps every other process that migrates this database waiting, however long it takes."""

    @abstractmethod
    def select_in(self, cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement in which `IN ({})` stands once, for a list of values; each row once, in no order.

        values: numbers, or texts. A text with NUL finds nothing: no column of ours holds one.
        """

    @abstractmethod
    def insert(self, cursor: CursorWrapper, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Inserts rows. columns: their names, separated by commas, in the order of each row's values.

        Table and columns stand in the statement as they are: `quoted` where they may be words of SQL.
        """

    @abstractmethod
    def draw(self, cursor: CursorWrapper, table: str, column: str, above: int, count: int) -> list[int]:
        """So many numbers for an integer column, in order, from just above `above` to under 0; takes no lock.

        No two transactions that are open at a time draw the same, nor one that a row of the table has.
        """

    @abstractmethod
    def is_of_the_row(self, error: BaseException) -> bool:
        """Whether the database refuses a row, and would take others. False: it refuses all alike, or it is our defect.

        Only an error of a row may reject or park a command: rights, tables, connections, locks and disks are the
        service's.
        """

    def message(self, error: BaseException) -> str:
        """What the database says, in one line, the same for every row: without its values."""
        return " ".join(str(error).split())

    @abstractmethod
    def violation(self, error: BaseException, model: type[models.Model]) -> Violation | None:
        """The constraint of the model that the error speaks of; None: of no constraint of its.

        To be asked when the transaction (or savepoint) of the error is over.
        """

    @abstractmethod
    def check_references(self, cursor: CursorWrapper, model: type[models.Model], ids: Collection[Any]) -> None:
        """Raises IntegrityError when a row of the model, of those written in this transaction by these primary keys,
        breaks a foreign key, or its deletion does. Reason: the database would say so at the commit alone, of all.
        """

    @abstractmethod
    def announce(self, cursor: CursorWrapper, lock: Lock) -> None:
        """Has the commit of this transaction told to all who await `changes` of the lock's rows."""

    @abstractmethod
    def changes(self, lock: Lock, every: float) -> AsyncGenerator[None, None]:
        """Yields at once, then when a process may have committed rows of the lock, and every LATEST seconds.

        every: seconds between two notes at least; several commits make one. Goes on while the database is away. To be
        closed (`contextlib.aclosing`).
        """

    @abstractmethod
    def check_settings(self) -> str:
        """What is wrong with the server or the connection, as the end of a sentence; empty: nothing."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the rows are, for a person. Without the password."""

    def check(self, what: str, apps: Sequence[str] | None = None) -> None:
        """Raises StartError, with one sentence, unless this service can work on this database.

        what: the database as the sentence calls it. apps: whose migrations are needed; None: of all.
        """
        named = f"the {what} database"
        try:
            if wrong := self.check_settings():
                raise StartError(f"{named} {wrong}")
            executor = MigrationExecutor(self.connection)
            graph = executor.loader.graph
            leaves = graph.leaf_nodes() if apps is None else [leaf for app in apps for leaf in graph.leaf_nodes(app)]
            missing = executor.migration_plan(leaves)
            migrated = executor.loader.migrated_apps
            absent = [] if missing else self._absent_tables(migrated if apps is None else apps)
        except Error as error:
            raise StartError(f"{named} {self.place}: {' '.join(str(error).split())}") from error
        command = "run `python manage.py migrate" + ("`" if self.alias == "default" else f" --database {self.alias}`")
        if missing:
            names = ", ".join(migration.name for migration, _ in missing[:_SHOWN])
            if len(missing) > _SHOWN:
                names += f" and {len(missing) - _SHOWN} more"
            raise StartError(f"{named} lacks migrations ({names}): {command}")
        if absent:
            raise StartError(
                f"{named} {self.place} lacks tables that its migrations made ({', '.join(absent)}): it is not whole, or"
                " both URLs mean this one database in different words"
            )

    def _absent_tables(self, apps: Iterable[str]) -> list[str]:
        there = set(self.connection.introspection.table_names())
        wanted = {
            model._meta.db_table
            for config in map(registry.get_app_config, apps)
            for model in router.get_migratable_models(config, self.alias)
            if model._meta.managed and not model._meta.proxy
        }
        return sorted(wanted - there)


def quoted(identifier: str) -> str:
    """A table's or column's name as every engine takes it, even where it is a word of SQL."""
    return f'"{identifier}"'


def without_nul(values: Sequence[Any]) -> list[Any]:
    """The values but texts with NUL, which PostgreSQL refuses and of which SQLite's JSON takes the beginning."""
    return [value for value in values if not (isinstance(value, str) and "\0" in value)]
