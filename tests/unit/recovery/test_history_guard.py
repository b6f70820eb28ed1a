"""A database that was reset or restored: recognised by every gateway, and only then."""

import logging

import pytest

from cqrs.journal import tracked_history
from cqrs.journal.journal import Journal
from cqrs.journal.models import TrackedHistory
from cqrs.journal.tracked_history import Seen
from cqrs.query.errors import PositionTooOld, PositionUnknown, ReadError
from cqrs.recovery.history_guard import HistoryGuard, Refusals
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from tests.support.fake_reader import FakeReader, FakeStore
from tests.support.journals import id_of, notice, open_journal, row, updates, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal


class Gateway:
    """What one gateway process knows of the database in `store`; it looks when it is told to."""

    def __init__(self, journal: Journal, store: FakeStore) -> None:
        self.journal = journal
        self.reader = FakeReader(store)
        self.paused: list[bool] = []
        self.guard = HistoryGuard(
            journal,
            self.reader.read_notices,
            refusals=Refusals(PositionUnknown, PositionTooOld),
            away=(ReadError,),
            on_change=self.paused.append,
        )

    async def connect(self) -> None:
        store = self.reader.store
        self.guard.on_connect(NoticeBatch(head=store.head, database=store.database, memory=store.memory))
        await self.look()

    async def look(self) -> None:
        """Until it has taken note of what it recorded itself."""
        for _ in range(3):
            await self.guard.look()

    async def hear(self, count: int = 1) -> None:
        """Hears so many new notices, and waits until that is recorded."""
        notices = self.reader.store.commit(count)
        self.guard.on_notices(notices)
        self.journal.settle(notices)
        await eventually(lambda: len(self.journal._completions) == 0, what="what was heard is recorded")

    @property
    def is_lost(self) -> bool:
        return self.guard.lost != ""


async def tracked_row(gateway: Gateway) -> TrackedHistory:
    found = await gateway.journal.read(tracked_history.read)
    assert found is not None
    return found


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def test_the_first_database_is_tracked_from_where_it_ends(store: FakeStore) -> None:
    store.commit(3)
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        found = await tracked_row(gateway)
        assert (found.database, found.position, found.generation) == ("first", "3.first", 1)
        assert not gateway.is_lost
        assert journal.history.position == "3.first"


async def test_how_far_was_seen_is_recorded_with_what_was_heard_and_named_by_what_is_sent(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        assert journal.history.position == ""
        await gateway.hear(5)
        assert (await tracked_row(gateway)).position == journal.history.position == "5.first"


async def test_what_came_before_the_database_was_compared_counts_as_seen_once_it_was(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        gateway.guard.on_connect(NoticeBatch(head=store.head, database=store.database))
        await gateway.hear(2)
        assert (await tracked_row(gateway)).number == 0
        await gateway.look()
        assert (await tracked_row(gateway)).number == 2


@pytest.mark.parametrize("database", ["first", "another"])
async def test_a_restored_or_reset_database_is_recognised_by_all_gateways_and_after_a_restart(
    store: FakeStore, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_journal() as journal, open_journal("gateway-2") as other:
        gateway, second = Gateway(journal, store), Gateway(other, store)
        await gateway.connect()
        await gateway.hear(5)
        store.replace(database, keep=3)
        caplog.clear()
        await gateway.connect()
        assert gateway.is_lost
        assert gateway.paused == [True]
        assert "replaycommands" in gateway.guard.lost
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "replaycommands" in errors[0].getMessage()
        # Whether the other one hears of the database or not.
        await second.look()
        assert second.paused == [True]
        # What was seen is remembered, whatever comes of the one in its place.
        await gateway.hear(9)
        assert (await tracked_row(gateway)).position == "5.first"
    async with open_journal("gateway-3") as journal:
        restarted = Gateway(journal, store)
        await restarted.look()
        assert restarted.is_lost


async def test_while_it_is_lost_no_contact_is_said_not_to_be(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        await gateway.hear()
        assert not await journal.is_pending("contact", "c1")
        # From when the connection is lost on: nobody knows yet what comes back.
        gateway.guard.on_disconnect()
        assert await journal.is_pending("contact", "c1")
        await gateway.connect()
        assert not await journal.is_pending("contact", "c1")
        store.replace("another")
        await gateway.connect()
        assert await journal.is_pending("contact", "c1")
        gateway.guard.on_disconnect(final=True)
        assert await journal.is_pending("contact", "c1")


async def test_a_read_side_that_cannot_tell_is_asked_about_contacts_all_the_same(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        gateway.guard.on_disconnect(final=True)
        assert not await journal.is_pending("contact", "c1")


async def test_the_right_database_put_back_is_found_again(store: FakeStore) -> None:
    right = FakeStore()
    async with open_journal() as journal:
        gateway = Gateway(journal, right)
        await gateway.connect()
        await gateway.hear(5)
        gateway.reader.store = FakeStore()
        await gateway.connect()
        assert gateway.is_lost
        gateway.reader.store = right
        await gateway.connect()
        assert not gateway.is_lost
        assert gateway.paused == [True, False]
        await gateway.hear()
        assert (await tracked_row(gateway)).number == 6


async def test_a_history_whose_beginning_is_not_kept_any_more_is_the_same(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        await gateway.hear(2)
        store.commit(10)
        store.pruned = 8
        await gateway.connect()
        assert not gateway.is_lost


async def test_a_memory_store_just_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = FakeStore(memory=True)
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        (command,) = updates("c1", 1)
        await journal.accept([command])
        journal.settle([notice(id_of(command), number=7)])
        await gateway.hear(3)
        # Of no use to anyone once the process has ended: neither for what is sent nor for a replay.
        assert journal.history.position == ""
        assert (await row(id_of(command))).notice_number is None
        store.replace("next")
        await gateway.connect()
        assert (await tracked_row(gateway)).database == "next"
        assert gateway.paused == []
    assert {record.levelname for record in caplog.records} == {"INFO"}


async def test_where_nothing_was_seen_nothing_is_lost(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        store.replace("another")
        await gateway.connect()
        assert (await tracked_row(gateway)).database == "another"
        assert gateway.paused == []


async def test_what_a_gateway_saw_of_an_earlier_history_is_not_taken_for_this_one(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        before = await tracked_row(gateway)
        await journal.write(lambda: tracked_history.begin("first", "3.new", memory=False, instead_of=before, number=3))
        await journal.write(lambda: tracked_history.see(Seen(before.generation, 100, "100.old")))
        assert (await tracked_row(gateway)).position == "3.new"


async def test_of_two_that_begin_anew_one_comes_first(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        before = await tracked_row(gateway)
        assert await journal.write(lambda: tracked_history.begin("second", "0", memory=False, instead_of=before))
        assert await journal.write(lambda: tracked_history.begin("third", "0", memory=False, instead_of=before)) is None
        assert (await tracked_row(gateway)).database == "second"


async def test_ends_are_recorded_with_where_they_stand_in_the_history(store: FakeStore) -> None:
    async with open_journal() as journal:
        (command,) = updates("c1", 1)
        await journal.accept([command])
        journal.settle([notice(id_of(command), Notice.UPDATED, number=41)])
    assert (await row(id_of(command))).notice_number == 41


async def test_a_reader_that_is_away_leaves_it_as_it_is(store: FakeStore) -> None:
    async with open_journal() as journal:
        gateway = Gateway(journal, store)
        await gateway.connect()
        await gateway.hear()
        gateway.reader.away = True
        gateway.guard.on_connect(NoticeBatch(head=store.head, database=store.database))
        with pytest.raises(ReadError):
            await gateway.guard.look()
        assert not gateway.is_lost
