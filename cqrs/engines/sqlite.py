"""SQLite: one file, one writer at a time, many processes of one machine."""

import asyncio
import contextlib
import fcntl
import json
import re
import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db import DataError, IntegrityError, models
from django.db.backends.utils import CursorWrapper

from cqrs.engines import constraints
from cqrs.engines.base import LATEST, Engine, Lock, Violation, quoted, without_nul
from cqrs.engines.constraints import BrokenReference

_MEMORY = ":memory:"

# Seconds between two looks at the count of commits while nothing is committed: 0.1 % of a core.
_IDLE = 0.2

_FAILED = re.compile(r"(UNIQUE|CHECK|NOT NULL) constraint failed: (?:index '(?P<index>.+)'|(?P<what>.+))\Z", re.DOTALL)


class SqliteEngine(Engine):
    """A file, or the memory of one connection."""

    def lock(self, cursor: CursorWrapper, lock: Lock) -> None:
        """Nothing to do: an IMMEDIATE transaction has the one lock there is from its beginning.

        A frozen process that holds it is not outlived: SQLite's lock is the process's, until it goes on or ends.
        """

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        if self._in_memory:
            yield
            return
        # A lock of the operating system's on a file beside it, which goes with the process. Migrations are many
        # transactions, and some run outside of one: no lock of SQLite's outlasts them.
        with Path(f"{self.place}.migrating").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def select_in(self, cursor: CursorWrapper, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """One statement whatever the number of values.

        Reason: with a placeholder for each value every length of list is another statement, which Django rewrites and
        SQLite compiles. Gain: contacts by 30 ids 133 → 82 µs of CPU. The plain path: a placeholder for each value.
        """
        if values := without_nul(values):
            cursor.execute(statement.format("SELECT value FROM json_each(%s)"), [json.dumps(values)])
            yield from cursor.fetchall()

    def insert(self, cursor: CursorWrapper, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            marks = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def draw(self, cursor: CursorWrapper, table: str, column: str, above: int, count: int) -> list[int]:
        # One transaction writes at a time.
        cursor.execute(f"SELECT COALESCE(MAX({column}), %s) FROM {table} WHERE {column} < 0", [above])
        first = cursor.fetchone()[0] + 1
        return list(range(first, first + count))

    def is_of_the_row(self, error: BaseException) -> bool:
        # OverflowError is the driver's, of an integer past 64 bits. A trigger's RAISE is an IntegrityError.
        return isinstance(error, IntegrityError | DataError | OverflowError)

    def violation(self, error: BaseException, model: type[models.Model]) -> Violation | None:
        if isinstance(error, BrokenReference):
            return constraints.reference(model, error.field, error.value)
        if not isinstance(error, IntegrityError) or not (failed := _FAILED.match(str(error))):
            return None
        if failed["index"]:
            return constraints.declared(model, failed["index"])
        # Of unique and of null it names the columns, of a check its name (of a field's own: the expression).
        tables, columns = zip(*(each.rpartition(".")[::2] for each in failed["what"].split(", ")), strict=True)
        if failed[1] == "CHECK":
            quoted = re.findall(r'"([^"]+)"', failed["what"])
            return constraints.declared(model, failed["what"]) or constraints.checked(model, [*quoted, failed["what"]])
        if set(tables) != {model._meta.db_table}:
            return None
        return constraints.empty(model, columns[0]) if failed[1] == "NOT NULL" else constraints.unique(model, columns)

    def check_references(self, cursor: CursorWrapper, model: type[models.Model], ids: Collection[Any]) -> None:
        for field in constraints.foreign_keys(model):
            table, column = quoted(field.model._meta.db_table), quoted(str(field.column))
            target, key = quoted(field.related_model._meta.db_table), quoted(str(field.target_field.column))
            # The rows that were written, and those that refer to one that was deleted; of a tree, both.
            own = [quoted(str(field.model._meta.pk.column))] if field.model is model else []
            for written in (*own, *([column] if field.related_model is model else [])):
                statement = (
                    f"SELECT r.{column} FROM {table} r WHERE r.{written} IN ({{}}) AND r.{column} IS NOT NULL"
                    f" AND NOT EXISTS (SELECT 1 FROM {target} t WHERE t.{key} = r.{column}) LIMIT 1"
                )
                for (value,) in self.select_in(cursor, statement, list(ids)):
                    raise BrokenReference(field, value)

    def announce(self, cursor: CursorWrapper, lock: Lock) -> None:
        """Nothing to do: SQLite counts the commits of each file."""

    async def changes(self, lock: Lock, every: float) -> AsyncGenerator[None, None]:
        """By the file's count of commits (`PRAGMA data_version`).

        Looked at on the event loop: the count is in memory that the processes share, and is read in 3 µs without
        waiting for anyone. Less often while nothing is committed (`_IDLE`).
        """
        with contextlib.closing(_CommitCount(self.place)) as count:
            pause, noted, seen = every, 0.0, None
            while True:
                now, version = asyncio.get_running_loop().time(), count.read()
                if version != seen or now - noted >= LATEST:
                    pause, noted, seen = every, now, version
                    yield
                else:
                    pause = max(every, min(_IDLE, 1.2 * pause))
                await asyncio.sleep(pause)

    def check_settings(self) -> str:
        if not self._in_memory and self.connection.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
            return f"{self.place} needs OPTIONS['transaction_mode'] = 'IMMEDIATE', or writers deadlock"
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            mode = cursor.fetchone()[0]
        return "" if self._in_memory or mode == "wal" else f"{self.place} is not in WAL mode (it is in {mode})"

    @property
    def place(self) -> str:
        return str(self.connection.settings_dict["NAME"])

    @property
    def _in_memory(self) -> bool:
        return self.place == _MEMORY


class _CommitCount:
    """How often a file was changed, as a connection of its own counts it."""

    def __init__(self, place: str) -> None:
        # The memory of one connection has no other: whoever commits there is this process, and knows.
        self._uri = "" if place == _MEMORY else f"{Path(place).absolute().as_uri()}?mode=ro"
        self._connection: sqlite3.Connection | None = None

    def read(self) -> int | None:
        """The count, None while the file cannot be opened: whoever reads it will say so."""
        if not self._uri:
            return None
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._uri, uri=True, timeout=0)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
