import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async

from cqrs.journal import commands
from cqrs.journal import relay as publisher_module
from cqrs.journal.committer import Committer
from cqrs.journal.entry import Entry
from cqrs.journal.errors import BrokerAway, NotCancellable
from cqrs.journal.journal import Journal
from cqrs.journal.models import Command as Row
from cqrs.journal.relay import CommandPublisher
from protocol import topics
from protocol.contact_write_pb2 import CommandBatch
from protocol.notice_pb2 import Notice
from tests.support.fakes import FakeLink, commands_in
from tests.support.journals import id_of, notice, open_journal, row, rows_in_order, updates, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal


@contextlib.asynccontextmanager
async def publishing(
    journal: Journal, link: FakeLink, *, single: bool = False, in_flight: int = 16
) -> AsyncIterator[CommandPublisher]:
    """A publisher at work; the link tells it of connections, as the wiring has it."""
    publisher = CommandPublisher(journal, link, single=single, in_flight=in_flight)
    link.on_connect = publisher.on_connect
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


class Gate:
    """Holds the broker's acknowledgements until it is opened."""

    def __init__(self, link: FakeLink) -> None:
        self.waiting = 0
        self._open = asyncio.Event()
        link.hold = self._wait

    async def _wait(self) -> None:
        self.waiting += 1
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


def entry(**fields: object) -> Entry:
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    made = Entry(
        1,
        "k1",
        "UPDATE",
        "c1",
        "Ada",
        2,
        "grace",
        "k0",
        moment,
        moment + timedelta(seconds=3),
        "",
        "QUEUED",
        None,
        None,
    )
    return made._replace(**fields)  # type: ignore[arg-type]


class TestMessages:
    def test_a_message_carries_all_of_its_row(self) -> None:
        made = entry().message(entry().accepted_at + timedelta(milliseconds=1250))
        assert (made.update.id, made.update.name) == ("c1", "Ada")
        meta = made.update.meta
        assert (meta.command_id, meta.depends_on, meta.expected_version) == ("k1", "k0", 2)
        assert (meta.actor, meta.waited_ms, meta.cancelled) == ("grace", 1250, False)

    @pytest.mark.parametrize(("seconds", "waited"), [(-3600, 0), (0, 0), (2, 2000), (3600, 3000)])
    def test_the_wait_is_nothing_to_the_delay_whatever_the_clock_does(self, seconds: int, waited: int) -> None:
        assert entry().message(entry().accepted_at + timedelta(seconds=seconds)).update.meta.waited_ms == waited

    def test_a_part_that_knows_only_the_contract_gets_no_chain_and_no_cancel(self) -> None:
        made = entry(cancel_requested_at=datetime.now(UTC)).message(datetime.now(UTC), contract_only=True)
        assert (made.update.meta.depends_on, made.update.meta.cancelled) == ("", False)

    def test_a_message_names_what_its_sender_has_seen_unless_it_may_go_to_any_database(self) -> None:
        assert entry().message(datetime.now(UTC), seen="7.abc").update.meta.seen == "7.abc"
        assert entry().message(datetime.now(UTC), seen="7.abc", contract_only=True).update.meta.seen == ""

    def test_an_unset_version_stays_unset(self) -> None:
        assert not entry(expected_version=None).message(datetime.now(UTC)).update.meta.HasField("expected_version")


class TestSending:
    async def test_a_command_alone_goes_on_its_own_topic_at_once(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            sent = [commands.add("Ada"), commands.update("c1", "Bob"), commands.delete("c1")]
            for number, command in enumerate(sent, 1):
                await journal.accept([command])
                await eventually(lambda number=number: len(link.messages) == number)
            await eventually(lambda: publisher.lag == 0)
        assert [topic for topic, _ in link.messages] == [topics.ADD, topics.UPDATE, topics.DELETE]
        assert link.sent_ids() == [id_of(command) for command in sent]
        assert link.sent()[2].delete.meta.depends_on == id_of(sent[1])
        assert link.sent()[0].add.id == sent[0].add.id

    async def test_what_is_accepted_within_a_moment_goes_in_one_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Longer than five commits take on any machine.
        monkeypatch.setattr(publisher_module, "GATHER", 2)
        link = FakeLink()
        async with open_journal(delay=20) as journal, publishing(journal, link) as publisher:
            link.connect()
            await eventually(lambda: not publisher.lag)
            for number in range(5):
                await journal.accept([commands.add(f"name {number}")])
            assert link.messages == []
            await eventually(lambda: len(link.sent()) == 5)
            assert [topic for topic, _ in link.messages] == [topics.BATCH]

    async def test_a_full_message_waits_for_nothing_and_a_moment_is_a_tenth_of_the_delay_at_most(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publisher_module, "GATHER", 3600)
        link = FakeLink()
        async with open_journal(delay=3600 * 24) as journal, publishing(journal, link):
            link.connect()
            await journal.accept(updates("c1", topics.BATCH_SIZE))
            await eventually(lambda: len(link.sent()) == topics.BATCH_SIZE)
        link = FakeLink()
        async with open_journal("gateway-2", delay=0.1) as journal, publishing(journal, link):
            link.connect()
            await journal.accept([commands.add("Ada")])
            await eventually(lambda: len(link.sent()) == 1)

    async def test_what_waits_is_packed_into_messages_of_a_hundred_in_order(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, in_flight=1):
            link.connect()
            gate = Gate(link)
            sent = updates("c1", 251)
            await journal.accept(sent[:1])
            await eventually(lambda: gate.waiting == 1)
            await journal.accept(sent[1:])
            gate.open()
            await eventually(lambda: len(link.sent_ids()) == 251)
        assert [topic for topic, _ in link.messages] == [topics.UPDATE, *[topics.BATCH] * 3]
        assert [len(CommandBatch.FromString(payload).command) for _, payload in link.messages[1:]] == [100, 100, 50]
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_no_more_messages_than_allowed_wait_for_the_broker(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, single=True, in_flight=3):
            link.connect()
            gate = Gate(link)
            await journal.accept(updates("c1", 10))
            await eventually(lambda: gate.waiting == 3)
            await journal.catch_up()
            assert gate.waiting == 3
            gate.open()
            await eventually(lambda: len(link.messages) == 10)

    async def test_what_is_accepted_while_the_broker_is_away_is_sent_once_when_it_is_back(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            assert not publisher.connected
            sent = updates("c1", 5)
            await journal.accept(sent)
            assert publisher.lag >= 5
            link.connect()
            await eventually(lambda: publisher.lag == 0)
            assert publisher.connected
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_in_a_pause_nothing_is_sent_and_after_it_all_that_is_unsettled(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            sent = updates("c1", 2)
            await journal.accept(sent)
            await eventually(lambda: publisher.lag == 0)
            journal.settle([notice(id_of(sent[0]))])
            publisher.paused = True
            assert not publisher.connected
            waiting = updates("c2", 3)
            await journal.accept(waiting)
            # What comes from beside the cursor too.
            with pytest.raises(BrokerAway, match="pause"):
                await publisher.send([entry()])
            link.connect()
            await journal.catch_up()
            assert link.sent_ids() == [id_of(command) for command in sent]
            link.messages.clear()
            publisher.paused = False
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in (sent[1], *waiting)]

    async def test_rows_that_were_read_before_they_are_told_of_are_sent_once(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, in_flight=1) as publisher:
            # Not connected yet: they are read once it is.
            sent = updates("c1", 3)
            await journal.accept(sent)
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 3)
            publisher._on_accepted(await journal.queued(0, 10, unsent=False))
            last = updates("c1", 1)
            await journal.accept(last)
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in (*sent, *last)]

    async def test_a_row_that_is_committed_but_not_yet_known_during_a_look_into_the_journal_is_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        committed, looked, real = threading.Event(), threading.Event(), Committer._add

        def late(committer: Committer, accepted: list[Entry]) -> None:
            committed.set()
            assert looked.wait(5)
            real(committer, accepted)

        monkeypatch.setattr(Committer, "_add", late)
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            (sent,) = updates("c1", 1)
            accepting = asyncio.create_task(journal.accept([sent]))
            await eventually(committed.is_set)
            link.connect()
            await eventually(lambda: not publisher.lag)
            looked.set()
            await accepting
            await eventually(lambda: link.sent_ids() == [id_of(sent)])

    async def test_a_full_tail_lags_and_leaves_nothing_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publisher_module, "MAX_TAIL", 10)
        monkeypatch.setattr(publisher_module, "READ_AT_ONCE", 7)
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, in_flight=1) as publisher:
            link.connect()
            gate = Gate(link)
            sent = updates("c1", 60)
            await journal.accept(sent[:1])
            await eventually(lambda: gate.waiting == 1)
            for start in range(1, 41, 4):
                await journal.accept(sent[start : start + 4])
            gate.open()
            for start in range(41, 60, 4):
                await journal.accept(sent[start : start + 4])
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_what_has_ended_before_its_turn_is_not_sent(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            first, second = updates("c1", 2)
            await journal.accept([first, second])
            journal.settle([notice(id_of(first))])
            link.connect()
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(second)]

    async def test_the_rows_of_other_gateways_are_left_to_them(self) -> None:
        link = FakeLink()
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            await two.accept(updates("c2", 3))
            async with publishing(one, link) as publisher:
                link.connect()
                (mine,) = updates("c1", 1)
                await one.accept([mine])
                await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(mine)]


class TestSendingAgain:
    async def test_a_broker_that_comes_back_gets_all_that_is_unsettled(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            sent = updates("c1", 4)
            await journal.accept(sent)
            await eventually(lambda: len(link.sent_ids()) == 4)
            journal.settle([notice(id_of(sent[0])), notice(id_of(sent[1]), Notice.PARKED)])
            await eventually(lambda: publisher.lag == 0)
            await eventually(lambda: not journal.is_settled(id_of(sent[0])))
            link.messages.clear()
            link.disconnect()
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 2)
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent[2:]]

    async def test_hellos_close_together_cause_one_repetition(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            await journal.accept(updates("c1", 3))
            await eventually(lambda: len(link.sent_ids()) == 3)
            for _ in range(50):
                publisher.on_message(topics.HELLO, b"")
            await eventually(lambda: len(link.sent_ids()) == 6)
            (last,) = updates("c2", 1)
            await journal.accept([last])
            await eventually(lambda: link.sent_ids()[-1] == id_of(last))
            assert len(link.sent_ids()) == 7

    async def test_a_hello_during_a_repetition_waits_for_its_end_and_is_not_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publisher_module, "HELLO_PAUSE", 0)
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, in_flight=1) as publisher:
            link.connect()
            sent = updates("c1", 300)
            await journal.accept(sent)
            await eventually(lambda: len(link.sent_ids()) == 300)
            gate = Gate(link)
            publisher.on_message(topics.HELLO, b"")
            await eventually(lambda: gate.waiting == 1)  # the first hundred of the first repetition
            publisher.on_message(topics.HELLO, b"")
            gate.open()
            await eventually(lambda: len(link.sent_ids()) >= 900)
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent] * 3

    async def test_a_broker_that_comes_back_during_a_look_into_the_journal_gets_everything(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            (first,) = updates("c1", 1)
            await journal.accept([first])
            await eventually(lambda: publisher.lag == 0)
            link.messages.clear()
            real = journal.queued

            async def interrupted(after: int, limit: int, *, unsent: bool) -> list[Entry]:
                found = await real(after, limit, unsent=unsent)
                if after:
                    link.disconnect()
                    link.connect()
                return found

            monkeypatch.setattr(journal, "queued", interrupted)
            publisher._behind = True
            (second,) = updates("c2", 1)
            await journal.accept([second])
            await eventually(lambda: publisher.lag == 0)
        assert link.sent_ids() == [id_of(first), id_of(second)]

    async def test_other_messages_are_no_hello(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            await journal.accept(updates("c1", 1))
            await eventually(lambda: publisher.lag == 0)
            publisher.on_message("CONTACT/OTHER", b"")
            assert publisher._hello_at is None

    async def test_a_message_that_the_broker_did_not_acknowledge_is_sent_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            failures = 2

            async def fail() -> None:
                nonlocal failures
                if failures:
                    failures -= 1
                    raise BrokerAway("no acknowledgement within 5 s")

            link.hold = fail
            sent = updates("c1", 3)
            await journal.accept(sent)
            await eventually(lambda: publisher.lag == 0 and failures == 0)
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_an_earlier_run_of_the_same_owner_is_continued(self) -> None:
        link = FakeLink()
        sent = updates("c1", 3)
        async with open_journal("gateway-1") as journal:
            await journal.accept(sent)
        async with open_journal("gateway-1") as journal, publishing(journal, link):
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 3)
        assert link.sent_ids() == [id_of(command) for command in sent]


class TestCancelling:
    async def test_a_cancel_is_sent_at_once_on_its_own_topic(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await eventually(lambda: len(link.messages) == 1)
            await journal.cancel(id_of(command))
            (entry,) = await journal.cancels(10)
            await eventually(lambda: publisher.decision_sent(entry))
        topic, payload = link.messages[1]
        assert topic == topics.CANCEL
        (cancelled,) = CommandBatch.FromString(payload).command
        assert (cancelled.update.meta.command_id, cancelled.update.meta.cancelled) == (id_of(command), True)

    async def test_every_later_sending_carries_it(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link):
            first, second = updates("c1", 2)
            await journal.accept([first, second])
            await journal.cancel(id_of(first))
            link.connect()
            await eventually(lambda: id_of(second) in link.sent_ids())
            await eventually(lambda: id_of(first) in link.sent_ids())
        for topic, payload in link.messages:
            for command in commands_in(topic, payload):
                meta = command.update.meta
                assert meta.cancelled == (topic == topics.CANCEL) == (meta.command_id == id_of(first))

    async def test_a_writer_that_comes_later_has_to_be_told_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            link.connect()
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await journal.cancel(id_of(command))
            (entry,) = await journal.cancels(10)
            await eventually(lambda: publisher.decision_sent(entry))
            publisher.on_message(topics.HELLO, b"")
            assert not publisher.decision_sent(entry)


class TestForeignParts:
    async def test_a_foreign_writer_gets_one_command_a_message_on_the_contracts_topics(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, single=True) as publisher:
            sent = updates("c1", 30)
            await journal.accept(sent)
            link.connect()
            await eventually(lambda: publisher.lag == 0)
        assert {topic for topic, _ in link.messages} == {topics.UPDATE}
        assert link.sent_ids() == [id_of(command) for command in sent]
        assert {command.update.meta.depends_on for command in link.sent()} == {""}
        assert all(found.sent_at is not None for found in await rows_in_order())

    async def test_what_it_was_sent_it_is_never_sent_again(self) -> None:
        link = FakeLink()
        sent = updates("c1", 3)
        async with open_journal("gateway-1") as journal, publishing(journal, link, single=True) as publisher:
            link.connect()
            await journal.accept(sent)
            await eventually(lambda: publisher.lag == 0)
            link.disconnect()
            link.connect()
            publisher.on_message(topics.HELLO, b"")
            (last,) = updates("c1", 1)
            await journal.accept([last])
            await eventually(lambda: id_of(last) in link.sent_ids())
            await eventually(lambda: publisher.lag == 0)
        async with open_journal("gateway-1") as journal, publishing(journal, link, single=True):
            link.connect()
            (after,) = updates("c1", 1)
            await journal.accept([after])
            await eventually(lambda: id_of(after) in link.sent_ids())
        assert link.sent_ids() == [id_of(command) for command in [*sent, last, after]]

    async def test_what_was_lost_before_it_was_acknowledged_is_sent_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, single=True) as publisher:
            link.connect()
            gate = Gate(link)
            sent = updates("c1", 5)
            await journal.accept(sent)
            await eventually(lambda: gate.waiting == 5)
            link.disconnect()
            gate.open()
            link.hold = None
            await eventually(lambda: not publisher._in_flight)
            link.connect()
            await eventually(lambda: publisher.lag == 0)
        assert sorted(link.sent_ids()) == sorted(id_of(command) for command in sent)

    async def test_where_no_outcome_can_be_heard_commands_are_handed_over(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            publisher.handing_over = True
            sent = updates("c1", 3)
            await journal.accept(sent)
            link.connect()
            for command in sent:
                assert (await journal.settled(id_of(command), 5)).state == "HANDED_OVER"
            link.disconnect()
            link.connect()
            publisher.on_message(topics.HELLO, b"")
            (last,) = updates("c1", 1)
            await journal.accept([last])
            assert (await journal.settled(id_of(last), 5)).state == "HANDED_OVER"
        assert link.sent_ids() == [id_of(command) for command in [*sent, last]]
        assert {command.update.meta.depends_on for command in link.sent()} == {""}
        assert {found.state for found in await rows_in_order()} == {"HANDED_OVER"}

    async def test_what_the_broker_did_not_acknowledge_is_not_handed_over(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link) as publisher:
            publisher.handing_over = True
            link.connect()
            gate = Gate(link)
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await eventually(lambda: gate.waiting == 1)
            link.disconnect()
            gate.open()
            await eventually(lambda: not publisher._in_flight)
            assert (await row(id_of(command))).state == "QUEUED"
            assert not journal.is_settled(id_of(command))

    @pytest.mark.parametrize("single", [True, False])
    async def test_nothing_can_be_cancelled_where_nobody_would_hear_of_it(self, single: bool) -> None:
        async with open_journal() as journal, publishing(journal, FakeLink(), single=single) as publisher:
            publisher.handing_over = not single
            (command,) = updates("c1", 1)
            await journal.accept([command])
            with pytest.raises(NotCancellable, match="contract"):
                await journal.cancel(id_of(command))
            publisher.handing_over = False
            assert journal.cancellable == (not single)

    async def test_a_cancel_from_elsewhere_does_not_keep_a_command_from_a_foreign_writer(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, publishing(journal, link, single=True):
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await sync_to_async(Row.objects.update)(cancel_requested_at=datetime.now(UTC))
            link.connect()
            await eventually(lambda: link.sent_ids() == [id_of(command)])
        assert link.messages[0][0] == topics.UPDATE
