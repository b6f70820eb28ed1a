"""A journal over the test database, and what tests ask of it."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async

from cqrs.journal.clock import Clock
from cqrs.journal.delivery import Deliveries, at_least_once
from cqrs.journal.journal import Journal
from cqrs.journal.models import Command as Row
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from tests.support import envelopes as commands
from tests.support.envelopes import id_of

__all__ = ["id_of", "make_row", "notice", "open_journal", "row", "rows_in_order", "updates", "uses_the_journal"]

# Journals write in a thread of their own, which sees what is committed alone.
uses_the_journal = pytest.mark.django_db(transaction=True)


@contextlib.asynccontextmanager
async def open_journal(
    owner: str = "gateway-1",
    *,
    delay: float = 3.0,
    limit: int = 1000,
    delivery: Deliveries = at_least_once,
    clock: Clock = Clock(),  # noqa: B008  # immutable
) -> AsyncIterator[Journal]:
    async with Journal(delay, limit, owner, delivery=delivery, clock=clock) as journal:
        yield journal


def updates(contact_id: str, count: int) -> list[Command]:
    return [commands.update(contact_id, f"name {number}") for number in range(count)]


def notice(command_id: str, kind: int = Notice.UPDATED, *, version: int | None = 1, **fields: object) -> Notice:
    """What the database says of a command."""
    made = Notice(kind=kind, command_id=command_id, **fields)  # type: ignore[arg-type]
    if version is not None:
        made.version = version
    made.committed_at.GetCurrentTime()
    return made


async def row(command_id: str) -> Row:
    """The row as it stands in the database."""
    return await sync_to_async(Row.objects.get)(command_id=command_id)


async def rows_in_order() -> list[Row]:
    return await sync_to_async(lambda: list(Row.objects.order_by("number")))()


async def make_row(**fields: object) -> Row:
    """Changes or adds a row behind the journal's back, as another process does."""
    return await sync_to_async(Row.objects.create)(**fields)
