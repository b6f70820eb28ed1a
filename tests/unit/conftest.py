"""What several tests of the database service need."""

import pytest

from cqrs.store import apply as apply_module
from cqrs.store import unit_of_work
from protocol.contact_pb2 import Contact as ContactMessage
from protocol.contact_write_pb2 import Command
from tests.support.factories import id_of


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

    def decide(contact: ContactMessage | None, command: Command):
        if id_of(command) in ids:
            raise ZeroDivisionError("a planted defect")
        return real(contact, command)

    monkeypatch.setattr(unit_of_work, "decide", decide)
    return ids
