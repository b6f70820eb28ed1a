"""How many commands a ring accepted and committed, read from its databases."""

import sqlite3
from pathlib import Path

from benchmarks.bench import until


class Counts:
    """Counts from its making on. Both numbers are those of rows that are numbered one after the other."""

    def __init__(self, var: Path) -> None:
        self._journal = sqlite3.connect(f"file:{var / 'gateway.sqlite3'}?mode=ro", uri=True)
        self._contacts = sqlite3.connect(f"file:{var / 'contacts.sqlite3'}?mode=ro", uri=True)
        self._accepted_before = self._last("cqrs_command", self._journal)
        self._committed_before = self._last("notice", self._contacts)

    @property
    def accepted(self) -> int:
        return self._last("cqrs_command", self._journal) - self._accepted_before

    @property
    def committed(self) -> int:
        return self._last("notice", self._contacts) - self._committed_before

    def last_committed_at(self) -> float:
        """When the newest commit was, in seconds since 1970."""
        (at,) = self._contacts.execute("SELECT committed_at FROM notice ORDER BY number DESC LIMIT 1").fetchone()
        return float(at) / 1000

    async def all_committed(self, within: float) -> None:
        """Waits until all that was accepted is committed."""
        await until(
            lambda: self.committed >= self.accepted,
            within=within,
            what=f"all that was accepted is committed ({self.accepted - self.committed} are not)",
        )

    async def all_settled(self, within: float) -> None:
        """Waits until the journal knows the end of all that was accepted: nothing is left to do."""
        await until(lambda: not self._unsettled(), within=within, what="the journal knows the end of every command")

    def _unsettled(self) -> int:
        query = "SELECT EXISTS (SELECT 1 FROM cqrs_command WHERE settled_at IS NULL)"
        return int(self._journal.execute(query).fetchone()[0])

    def close(self) -> None:
        self._journal.close()
        self._contacts.close()

    @staticmethod
    def _last(table: str, database: sqlite3.Connection) -> int:
        return database.execute(f"SELECT MAX(number) FROM {table}").fetchone()[0] or 0
