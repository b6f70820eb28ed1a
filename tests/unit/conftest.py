"""What several tests of the database service need."""

from typing import Any

import pytest

from cqrs.store import apply as apply_module
from cqrs.store import unit_of_work
from protocol.cqrs_command_pb2 import Command
from tests.support.envelopes import id_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in milliseconds, to be set."""
    now = [1_764_000_000_000]
    monkeypatch.setattr(apply_module, "now_ms", lambda: now[0])
    return now


@pytest.fixture
def defects(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Ids of commands that the deciding code fails on, to be filled."""
    ids: set[str] = set()
    real = unit_of_work.decide

    def decide(state: Any | None, command: Command):
        if id_of(command) in ids:
            raise ZeroDivisionError("a planted defect")
        return real(state, command)

    monkeypatch.setattr(unit_of_work, "decide", decide)
    return ids
