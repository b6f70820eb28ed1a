"""Locks: one transaction at a time, a frozen process is outlived, a server that restarts is found again."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import Error, connections, transaction

from cqrs.engines import Engine, Lock
from cqrs.store.apply import apply
from cqrs.store.database import ALIAS
from cqrs.store.errors import DatabaseAway
from cqrs.store.models import DatabaseIdentity, Notice
from cqrs.store.threads import DatabaseThreads
from tests.support.envelopes import add
from tests.support.polling import eventually
from tests.support.postgresql import cluster

pytestmark = pytest.mark.django_db(transaction=True, databases=[ALIAS])


@contextmanager
def frozen(engine: Engine) -> Iterator[None]:
    """Another session that holds the lock and does nothing more."""
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
                engine.lock(cursor, Lock.STORE)
                held.set()
                ended.wait(30)
        except Error:
            # The server has ended the session.
            pass
        finally:
            connections[ALIAS].close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.usefixtures("_postgresql")
def test_a_frozen_process_that_holds_the_lock_is_outlived(engine: Engine) -> None:
    with frozen(engine):
        assert [notice.number for notice in apply([add()]).notices] == [1]


def test_first_writers_on_an_empty_database_number_their_notices_one_after_the_other() -> None:
    DatabaseIdentity.objects.using(ALIAS).all().delete()
    together = threading.Barrier(4)

    def write(_number: int) -> None:
        together.wait()
        try:
            apply([add()])
        finally:
            connections[ALIAS].close()

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    assert list(Notice.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3, 4]


@pytest.fixture
def _restarts(transactional_db: None) -> Iterator[None]:
    """Connections of the test's thread do not outlive a restart."""
    yield
    for connection in connections.all(initialized_only=True):
        connection.close()


@pytest.mark.usefixtures("_postgresql", "_restarts")
async def test_a_server_that_restarts_under_load_loses_nothing_and_is_found_within_ten_seconds() -> None:
    threads = DatabaseThreads(memory=False)
    done, stopped = [], asyncio.Event()

    async def write() -> None:
        while not stopped.is_set():
            command = add()
            while True:
                try:
                    await threads.write(apply, [command])
                except DatabaseAway:
                    await asyncio.sleep(0.05)
                else:
                    break
            done.append(command)

    task = asyncio.create_task(write())
    try:
        await eventually(lambda: len(done) > 20)
        await asyncio.to_thread(cluster().stop, "immediate")
        await asyncio.to_thread(cluster().start)
        before = len(done)
        await eventually(lambda: len(done) > before + 20, within=10)
        stopped.set()
        await task
        assert await threads.read(Notice.objects.using(ALIAS).count) == len(done)
    finally:
        task.cancel()
        await asyncio.to_thread(threads.close)
