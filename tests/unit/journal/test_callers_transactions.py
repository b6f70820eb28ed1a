"""Rows of callers' transactions: nobody waits for them, and no one who reads by number misses them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from contacts_write import acancel_command, aupdate_contact, cancel_command, update_contact
from cqrs.journal import api, rows
from cqrs.journal.errors import JournalFull, KeyConflict
from cqrs.journal.models import Command
from tests.support import envelopes as commands
from tests.support.journals import id_of, notice, open_journal, row, rows_in_order, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal

waits_for_nobody = pytest.mark.skipif(
    "config.getoption('--engine') == 'sqlite'",
    reason="on SQLite a transaction that has written keeps all others from writing",
)


@contextlib.asynccontextmanager
async def open_transaction(work: Callable[[], Any]) -> AsyncIterator[Any]:
    """What `work` returns, in a transaction of another thread that stays open within the context."""
    done, end, answer = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            with transaction.atomic():
                answer.append(work())
                done.set()
                assert end.wait(20)
        finally:
            done.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(done.wait, 20)
    try:
        yield answer[0]
    finally:
        end.set()
        await asyncio.to_thread(thread.join)


@waits_for_nobody
class TestNobodyWaits:
    async def test_a_gateways_mutation_does_not_wait_for_a_callers_transaction(self) -> None:
        async with open_journal() as journal:
            await journal.accept([commands.update("c0")])
            async with open_transaction(lambda: update_contact("c1", "from a view")):
                began = time.monotonic()
                await journal.accept([commands.update("c2")])
                assert time.monotonic() - began < 1

    async def test_what_is_committed_late_is_missed_by_no_one(self) -> None:
        """The race: its number was drawn first, and others were numbered and seen before it was there to be seen."""
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            async with open_transaction(lambda: [update_contact("c1", f"from a view {n}") for n in range(3)]) as late:
                early = commands.update("c1")
                await one.accept([early])
                await two.catch_up()
                assert one.head == two.head == 1
            last = commands.update("c1")
            await two.accept([last])
            await one.catch_up()
            assert all(one.is_unsettled(each.command_id) and two.is_unsettled(each.command_id) for each in late)
            found = await rows_in_order()
        order = [id_of(early), *(each.command_id for each in late), id_of(last)]
        assert [each.command_id for each in found] == order
        assert [each.number for each in found] == [1, 2, 3, 4, 5]
        assert [each.depends_on for each in found] == ["", *order[:-1]]

    async def test_an_end_is_recorded_once_the_transaction_that_cancels_the_command_is_over(self) -> None:
        async with open_journal() as journal:
            command = commands.update("c1")
            await journal.accept([command])
            async with open_transaction(lambda: cancel_command(id_of(command))):
                began = time.monotonic()
                journal.settle([notice(id_of(command))])
                await journal.accept([commands.update("c2")])
                assert time.monotonic() - began < 1
                await eventually(lambda: journal.is_settled(id_of(command)))
                found = await journal.find(id_of(command))
                assert found is not None
                assert found.state == "APPLIED"
            await eventually(lambda: not journal.is_settled(id_of(command)))
            assert (await row(id_of(command))).state == "APPLIED"

    async def test_a_row_that_is_being_cancelled_is_claimed_later_and_nothing_of_its_aggregate_before_it(self) -> None:
        async with open_journal() as journal:
            first, second, other = [await aupdate_contact(its_id, "Ada") for its_id in ("c1", "c1", "c2")]
            async with open_transaction(lambda: cancel_command(first.command_id)):
                await journal.catch_up()
                assert (await row(other.command_id)).number == 1
                assert (await row(second.command_id)).number < 0
            await journal.catch_up()
        assert (await row(second.command_id)).depends_on == first.command_id

    async def test_a_key_that_another_transaction_used_at_the_same_time_is_known_when_that_ends(self) -> None:
        def use(name: str) -> Any:
            try:
                return update_contact("c1", name, command_id="key-1")
            finally:
                connections.close_all()

        async with open_transaction(lambda: update_contact("c1", "Ada", command_id="key-1")) as first:
            again = asyncio.create_task(asyncio.to_thread(use, "Ada"))
            other = asyncio.create_task(asyncio.to_thread(use, "Bob"))
            await asyncio.sleep(0.1)
        assert await again == first
        with pytest.raises(KeyConflict):
            await other


async def test_no_row_of_many_threads_is_missed_and_each_keeps_its_order() -> None:
    """Callers and gateways at once, on either engine."""
    made: dict[int, list[str]] = {number: [] for number in range(4)}

    def call(number: int) -> None:
        try:
            for step in range(10):
                with transaction.atomic():
                    made[number] += [update_contact("c1", f"{number} {step} {each}").command_id for each in range(2)]
                    time.sleep(0.002)
        finally:
            connections.close_all()

    async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
        calls = asyncio.gather(*(asyncio.to_thread(call, number) for number in made))
        while not calls.done():
            await one.accept([commands.update("c1")])
            await two.accept([commands.update("c1")])
        await calls
        for journal in (one, two, one):
            await journal.catch_up()
        found = await rows_in_order()
        assert all(one.is_unsettled(each.command_id) and two.is_unsettled(each.command_id) for each in found)
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    assert [each.depends_on for each in found] == ["", *(each.command_id for each in found[:-1])]
    for ids in made.values():
        assert [each.command_id for each in found if each.command_id in ids] == ids


async def test_what_is_rolled_back_never_happened() -> None:
    def fail() -> None:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            update_contact("c1", "Ada")
            raise ZeroDivisionError

    async with open_journal() as journal:
        await sync_to_async(fail)()
        await journal.catch_up()
        assert journal.unsettled == 0


async def test_the_journal_is_not_written_while_there_is_nothing_to_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_journal() as journal:
        await journal.accept([commands.update("c1")])

        def refuse() -> Iterator[Any]:
            raise AssertionError("nothing is to be written")

        monkeypatch.setattr(rows, "writing", refuse)
        await journal.catch_up()


async def test_a_cancel_of_a_row_that_no_gateway_has_goes_out_with_it() -> None:
    told: list[tuple[str, bool]] = []
    async with open_journal() as journal:
        accepted = await aupdate_contact("c1", "Ada")
        await acancel_command(accepted.command_id)
        journal.listen(
            lambda records: told.extend((each.command_id, each.cancelled) for each in records),
            lambda _record: None,
            lambda _command_id: None,
        )
        await journal.catch_up()
        await eventually(lambda: bool(told))
    assert told == [(accepted.command_id, True)]


@pytest.mark.django_db(transaction=True)
class TestCost:
    def pending(self, count: int) -> None:
        made = [commands.update(f"c{number}") for number in range(count)]
        for start in range(0, count, 500):
            api.accept(made[start : start + 500])

    @pytest.mark.parametrize("count", [0, 2000])
    def test_a_call_reads_the_same_whatever_is_pending(self, count: int) -> None:
        self.pending(count)
        update_contact("c", "counts what is pending, for a second")
        with CaptureQueriesContext(connection) as captured:
            update_contact("c", "Ada")
        statements = [query["sql"].split()[0] for query in captured.captured_queries]
        assert "COUNT" not in " ".join(query["sql"] for query in captured.captured_queries)
        assert len([each for each in statements if each == "SELECT"]) <= 2, statements

    def test_a_full_journal_is_counted_anew_before_it_refuses(self, settings: Any) -> None:
        settings.CQRS = {**settings.CQRS, "JOURNAL_LIMIT": 3}
        self.pending(3)
        with pytest.raises(JournalFull):
            update_contact("c", "Ada")
        Command.objects.update(settled_at="2025-01-01T00:00:00Z")
        update_contact("c", "Ada")
