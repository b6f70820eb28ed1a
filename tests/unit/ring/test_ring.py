"""How a ring starts, what it says of itself, and how it ends."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from cqrs import conf
from cqrs.engines import engine_of
from cqrs.ring import Ring
from cqrs.store import apply, command_writer
from cqrs.transport.process import StartError
from database_service.models import Contact
from tests.support import envelopes
from tests.support.polling import eventually

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "contacts"])


def make_ring(on_crash: Callable[[], None] = lambda: pytest.fail("a task died"), delay: float = 0.05) -> Ring:
    return Ring(dataclasses.replace(conf.current(), delay=delay), on_crash=on_crash)


def ring_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("ring", "gateway"))]


async def test_what_is_accepted_takes_effect_and_is_settled() -> None:
    async with make_ring() as gateway:
        (accepted,) = await gateway.journal.accept([envelopes.add("Ada")])
        row = await gateway.journal.settled(accepted.command_id, 10)
        assert row.state == "APPLIED"
        state: Any = await gateway.reader.get("contact", accepted.aggregate_id)
        assert state.name == "Ada"
    assert ring_tasks() == []


async def test_what_waits_at_the_end_is_left_to_the_next() -> None:
    async with make_ring(delay=60) as gateway:
        (accepted,) = await gateway.journal.accept([envelopes.add("Ada")])
    assert not await sync_to_async(Contact.objects.exists)()
    async with make_ring(delay=60) as gateway:
        assert gateway.journal.unsettled == 1
        assert gateway.journal.is_unsettled(accepted.command_id)


async def test_a_database_that_is_not_what_it_has_to_be_stops_the_start_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object) -> None:
        raise StartError("the contacts database lacks migrations")

    monkeypatch.setattr(type(engine_of("contacts")), "check", refuse)
    with pytest.raises(StartError, match="lacks migrations"):
        await make_ring().__aenter__()
    await eventually(lambda: ring_tasks() == [])


async def test_a_part_that_dies_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a planted defect")

    crashes: list[str] = []
    monkeypatch.setattr(command_writer, "retry_parked", fail)
    async with make_ring(lambda: crashes.append("crash")):
        await eventually(lambda: crashes)
    assert "ring store ended, and so does this process" in caplog.text


async def test_it_says_while_commands_do_not_take_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [True]
    real = apply.apply_incoming

    def refuse(commands: Any) -> Any:
        if broken:
            raise OperationalError("disk full")
        return real(commands)

    monkeypatch.setattr(command_writer, "apply_incoming", refuse)
    async with make_ring() as gateway:
        trouble = gateway.others["writer"]
        (accepted,) = await gateway.journal.accept([envelopes.add("Ada")])
        await eventually(lambda: trouble() == "waits for the database")
        broken.clear()
        assert (await gateway.journal.settled(accepted.command_id, 10)).state == "APPLIED"
        await eventually(lambda: trouble() == "")
