"""The statements beside those of the aggregates."""

from types import SimpleNamespace
from typing import Any

import pytest

from cqrs.engines import Lock
from cqrs.store import rows


class FirstWriters:
    """A cursor of a database that is empty until another writer's identity is committed, just before our own insert."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._is_made = False

    def execute(self, statement: str, _parameters: Any = ()) -> None:
        self.statements.append(statement)
        self._is_made |= statement.startswith("INSERT")

    def fetchone(self) -> tuple[str] | None:
        return ("of the other writer",) if self._is_made else None


def test_the_second_of_two_first_writers_waits_for_the_first_before_it_reads_a_number(monkeypatch: pytest.MonkeyPatch):
    locked: list[Lock] = []
    engine = SimpleNamespace(lock=lambda _cursor, lock: locked.append(lock))
    monkeypatch.setattr(rows, "engine_of", lambda _alias: engine)
    cursor = FirstWriters()
    assert rows.identity(cursor, lock=True) == "of the other writer"
    assert "ON CONFLICT DO NOTHING" in cursor.statements[1]
    assert locked == [Lock.STORE]
