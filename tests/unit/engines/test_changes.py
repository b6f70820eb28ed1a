"""A commit of another process is noted soon, and nothing is asked meanwhile."""

import asyncio
import contextlib
import time

import pytest
from django.db import connections

from cqrs.engines import Engine, Lock
from cqrs.store.apply import apply
from cqrs.store.database import ALIAS
from tests.support.envelopes import add
from tests.support.polling import eventually

# Seconds. A note that comes with the next look in any case takes five.
SOON = 1.0

pytestmark = pytest.mark.django_db(transaction=True, databases=[ALIAS])


def write() -> None:
    try:
        apply([add()])
    finally:
        connections[ALIAS].close()


async def test_each_commit_is_noted_soon_and_an_idle_database_is_not(engine: Engine) -> None:
    notes: list[float] = []

    async def listen() -> None:
        async with contextlib.aclosing(engine.changes(Lock.STORE, 0.025)) as changes:
            async for _ in changes:
                notes.append(time.monotonic())

    task = asyncio.create_task(listen())
    try:
        await eventually(lambda: notes)
        # Whatever else began: a note of it has come.
        await asyncio.sleep(0.5)
        for _ in range(3):
            before = len(notes)
            await asyncio.to_thread(write)
            committed = time.monotonic()
            await eventually(lambda before=before: len(notes) > before)
            assert notes[-1] - committed < SOON
            await asyncio.sleep(0.5)
        count = len(notes)
        await asyncio.sleep(1)
        assert len(notes) == count
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_many_commits_make_few_notes(engine: Engine) -> None:
    notes = 0

    async def listen() -> None:
        nonlocal notes
        async with contextlib.aclosing(engine.changes(Lock.STORE, 0.2)) as changes:
            async for _ in changes:
                notes += 1

    task = asyncio.create_task(listen())
    try:
        await eventually(lambda: notes)
        started = time.monotonic()
        for _ in range(20):
            await asyncio.to_thread(write)
        assert notes <= 3 + (time.monotonic() - started) / 0.2
    finally:
        task.cancel()
        await asyncio.wait([task])
