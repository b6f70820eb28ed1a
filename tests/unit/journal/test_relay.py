import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async

from contacts_write.go_contract import GoTopics
from cqrs.journal import cursor as cursor_module
from cqrs.journal import relay as relay_module
from cqrs.journal import rows
from cqrs.journal.clock import Clock
from cqrs.journal.committer import Committer
from cqrs.journal.delivery import AtLeastOnce, AtMostOnce, Delivery, choose
from cqrs.journal.errors import BrokerAway, NotCancellable
from cqrs.journal.journal import Journal
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record
from cqrs.journal.relay import Relay
from protocol import topics
from protocol.cqrs_command_pb2 import CommandBatch
from protocol.cqrs_notice_pb2 import Notice
from tests.support import envelopes as commands
from tests.support.fakes import FakeLink, commands_in
from tests.support.journals import id_of, notice, open_journal, row, rows_in_order, updates, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal


def to_a_foreign_writer() -> Delivery:
    return choose(foreign_writer=True, tells_outcomes=True)


def without_outcomes() -> Delivery:
    return choose(foreign_writer=False, tells_outcomes=False)


@contextlib.asynccontextmanager
async def relaying(
    journal: Journal, link: FakeLink, *, delivery: Callable[[], Delivery] = AtLeastOnce, in_flight: int = 16
) -> AsyncIterator[Relay]:
    """A relay at work; the link tells it of connections, as the wiring has it."""
    relay = Relay(journal, link, GoTopics(), delivery=delivery, in_flight=in_flight)
    link.on_connect = relay.on_connect
    task = asyncio.create_task(relay.run())
    try:
        yield relay
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


def record(*, age: float = 0.0) -> Record:
    """A row that was accepted so many seconds ago."""
    command = commands.update("c1", "Ada", command_id="k1", expected_version=2, actor="grace", depends_on="k0")
    accepted_at = datetime.now(UTC) - timedelta(seconds=age)
    return Record(1, command, accepted_at, accepted_at + timedelta(seconds=3), "gateway-1")


class TestMessages:
    def test_a_message_carries_all_of_its_row_and_what_its_sender_has_seen(self) -> None:
        sent = record().command
        AtLeastOnce().stamp(sent.meta, 1250, "7.abc")
        assert (sent.kind, sent.aggregate_id, commands.name_of(sent.body)) == ("contact.update", "c1", "Ada")
        meta = sent.meta
        assert (meta.command_id, meta.depends_on, meta.expected_version) == ("k1", "k0", 2)
        assert (meta.actor, meta.waited_ms, meta.cancelled, meta.seen) == ("grace", 1250, False, "7.abc")

    @pytest.mark.parametrize(("elapsed", "waited"), [(-3600, 0), (0, 0), (2, 2000), (3600, 3000)])
    def test_the_wait_is_nothing_to_the_delay_whatever_the_clock_does(self, elapsed: int, waited: int) -> None:
        assert record().waited_ms(elapsed) == waited

    @pytest.mark.parametrize("delivery", [to_a_foreign_writer(), without_outcomes()])
    def test_a_part_that_knows_only_the_contract_gets_no_chain_no_cancel_and_any_database(
        self, delivery: Delivery
    ) -> None:
        sent = commands.cancelled(record().command)
        sent.meta.seen = "6.abc"
        delivery.stamp(sent.meta, 0, "7.abc")
        assert (sent.meta.depends_on, sent.meta.cancelled, sent.meta.seen) == ("", False, "")

    async def test_the_journal_keeps_the_body_that_was_built_and_the_broker_gets_it(self) -> None:
        command = commands.update("c1", "Ada")
        # A field that nothing here knows: whoever opened the body and made it anew would lose it.
        command.body += b"\xa2\x06\x03new"
        body, link = command.body, FakeLink()
        async with open_journal() as journal, relaying(journal, link):
            await journal.accept([command])
            assert bytes((await row(id_of(command))).body) == body
            link.connect()
            await eventually(lambda: link.messages)
        assert link.sent()[0].body == body


class TestDelay:
    @pytest.mark.parametrize("jump", [1.0, 5.0, -3600.0])
    async def test_a_wall_clock_that_jumps_changes_nothing_for_the_commands_of_its_own_process(
        self, jump: float
    ) -> None:
        now = {"wall": 1_764_000_000.0, "monotonic": 100.0}
        clock = Clock(lambda: now["wall"], lambda: now["monotonic"])
        link = FakeLink()
        async with open_journal(clock=clock) as journal, relaying(journal, link) as relay:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            now["wall"] += jump + 0.5
            now["monotonic"] += 0.5
            link.connect()
            await eventually(lambda: relay.lag == 0)
            # Read from the journal again, it is still one of this process.
            link.disconnect()
            link.connect()
            await eventually(lambda: len(link.sent()) == 2)
        assert [sent.meta.waited_ms for sent in link.sent()] == [500, 500]

    @pytest.mark.parametrize(("ahead", "waited"), [(1.0, 1000), (5.0, 3000), (-5.0, 0)])
    async def test_the_commands_of_another_process_wait_by_the_clocks_of_both_hosts(
        self, ahead: float, waited: int
    ) -> None:
        wall = 1_764_000_000.0
        async with (
            open_journal("gateway-1", clock=Clock(lambda: wall)) as one,
            open_journal("gateway-2", clock=Clock(lambda: wall + ahead)) as two,
        ):
            await one.accept(updates("c1", 1))
            await two.catch_up()
            (found,) = await two.read(lambda: rows.due_before(datetime.now(UTC) + timedelta(days=3650), None, 10))
            assert two.waited_ms(found) == waited


class TestSending:
    async def test_a_command_alone_goes_on_its_own_topic_at_once(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            sent = [commands.add("Ada"), commands.update("c1", "Bob"), commands.delete("c1")]
            for number, command in enumerate(sent, 1):
                await journal.accept([command])
                await eventually(lambda number=number: len(link.messages) == number)
            await eventually(lambda: relay.lag == 0)
        assert [topic for topic, _ in link.messages] == [topics.ADD, topics.UPDATE, topics.DELETE]
        assert link.sent_ids() == [id_of(command) for command in sent]
        assert link.sent()[2].meta.depends_on == id_of(sent[1])
        assert link.sent()[0].aggregate_id == sent[0].aggregate_id

    async def test_what_is_accepted_within_a_moment_goes_in_one_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Longer than five commits take on any machine.
        monkeypatch.setattr(relay_module, "LINGER", 2)
        link = FakeLink()
        async with open_journal(delay=20) as journal, relaying(journal, link) as relay:
            link.connect()
            await eventually(lambda: not relay.lag)
            for number in range(5):
                await journal.accept([commands.add(f"name {number}")])
            assert link.messages == []
            await eventually(lambda: len(link.sent()) == 5)
            assert [topic for topic, _ in link.messages] == [topics.BATCH]

    async def test_a_full_message_waits_for_nothing_and_a_moment_is_a_tenth_of_the_delay_at_most(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "LINGER", 3600)
        link = FakeLink()
        async with open_journal(delay=3600 * 24) as journal, relaying(journal, link):
            link.connect()
            await journal.accept(updates("c1", topics.BATCH_SIZE))
            await eventually(lambda: len(link.sent()) == topics.BATCH_SIZE)
        link = FakeLink()
        async with open_journal("gateway-2", delay=0.1) as journal, relaying(journal, link):
            link.connect()
            await journal.accept([commands.add("Ada")])
            await eventually(lambda: len(link.sent()) == 1)

    async def test_what_waits_is_packed_into_messages_of_a_hundred_in_order(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, in_flight=1):
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
        async with open_journal() as journal, relaying(journal, link, delivery=to_a_foreign_writer, in_flight=3):
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
        async with open_journal() as journal, relaying(journal, link) as relay:
            assert not relay.connected
            sent = updates("c1", 5)
            await journal.accept(sent)
            assert relay.lag >= 5
            link.connect()
            await eventually(lambda: relay.lag == 0)
            assert relay.connected
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_in_a_pause_nothing_is_sent_and_after_it_all_that_is_unsettled(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            sent = updates("c1", 2)
            await journal.accept(sent)
            await eventually(lambda: relay.lag == 0)
            journal.settle([notice(id_of(sent[0]))])
            relay.pause()
            assert not relay.connected
            waiting = updates("c2", 3)
            await journal.accept(waiting)
            # What comes from beside the cursor too.
            with pytest.raises(BrokerAway, match="pause"):
                await relay.send([record()])
            link.connect()
            await journal.catch_up()
            assert link.sent_ids() == [id_of(command) for command in sent]
            link.messages.clear()
            relay.resume()
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in (sent[1], *waiting)]

    async def test_rows_that_were_read_before_they_are_told_of_are_sent_once(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, in_flight=1) as relay:
            # Not connected yet: they are read once it is.
            sent = updates("c1", 3)
            await journal.accept(sent)
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 3)
            relay._on_accepted(await journal.queued(0, 10, unsent=False))
            last = updates("c1", 1)
            await journal.accept(last)
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in (*sent, *last)]

    async def test_a_row_that_is_committed_but_not_yet_known_during_a_look_into_the_journal_is_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        committed, looked, real = threading.Event(), threading.Event(), Committer._add

        def late(committer: Committer, accepted: list[Record], accepted_on: float) -> None:
            committed.set()
            assert looked.wait(5)
            real(committer, accepted, accepted_on)

        monkeypatch.setattr(Committer, "_add", late)
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            (sent,) = updates("c1", 1)
            accepting = asyncio.create_task(journal.accept([sent]))
            await eventually(committed.is_set)
            link.connect()
            await eventually(lambda: not relay.lag)
            looked.set()
            await accepting
            await eventually(lambda: link.sent_ids() == [id_of(sent)])

    async def test_a_full_tail_lags_and_leaves_nothing_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cursor_module.Cursor.__init__, "__defaults__", (10,))
        monkeypatch.setattr(relay_module, "READ_AT_ONCE", 7)
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, in_flight=1) as relay:
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
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_what_has_ended_before_its_turn_is_not_sent(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            first, second = updates("c1", 2)
            await journal.accept([first, second])
            journal.settle([notice(id_of(first))])
            link.connect()
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(second)]

    async def test_the_rows_of_other_gateways_are_left_to_them(self) -> None:
        link = FakeLink()
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            await two.accept(updates("c2", 3))
            async with relaying(one, link) as relay:
                link.connect()
                (mine,) = updates("c1", 1)
                await one.accept([mine])
                await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(mine)]


class TestSendingAgain:
    async def test_a_broker_that_comes_back_gets_all_that_is_unsettled(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            sent = updates("c1", 4)
            await journal.accept(sent)
            await eventually(lambda: len(link.sent_ids()) == 4)
            journal.settle([notice(id_of(sent[0])), notice(id_of(sent[1]), Notice.PARKED)])
            await eventually(lambda: relay.lag == 0)
            await eventually(lambda: not journal.is_settled(id_of(sent[0])))
            link.messages.clear()
            link.disconnect()
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 2)
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent[2:]]

    async def test_hellos_close_together_cause_one_repetition(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            await journal.accept(updates("c1", 3))
            await eventually(lambda: len(link.sent_ids()) == 3)
            for _ in range(50):
                relay.on_message(topics.HELLO, b"")
            await eventually(lambda: len(link.sent_ids()) == 6)
            (last,) = updates("c2", 1)
            await journal.accept([last])
            await eventually(lambda: link.sent_ids()[-1] == id_of(last))
            assert len(link.sent_ids()) == 7

    async def test_a_hello_during_a_repetition_waits_for_its_end_and_is_not_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "HELLO_PAUSE", 0)
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, in_flight=1) as relay:
            link.connect()
            sent = updates("c1", 300)
            await journal.accept(sent)
            await eventually(lambda: len(link.sent_ids()) == 300)
            gate = Gate(link)
            relay.on_message(topics.HELLO, b"")
            await eventually(lambda: gate.waiting == 1)  # the first hundred of the first repetition
            relay.on_message(topics.HELLO, b"")
            gate.open()
            await eventually(lambda: len(link.sent_ids()) >= 900)
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(command) for command in sent] * 3

    async def test_a_broker_that_comes_back_during_a_look_into_the_journal_gets_everything(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            (first,) = updates("c1", 1)
            await journal.accept([first])
            await eventually(lambda: relay.lag == 0)
            link.messages.clear()
            real = journal.queued

            async def interrupted(after: int, limit: int, *, unsent: bool) -> list[Record]:
                found = await real(after, limit, unsent=unsent)
                if after:
                    link.disconnect()
                    link.connect()
                return found

            monkeypatch.setattr(journal, "queued", interrupted)
            relay._cursor.behind = True
            (second,) = updates("c2", 1)
            await journal.accept([second])
            await eventually(lambda: relay.lag == 0)
        assert link.sent_ids() == [id_of(first), id_of(second)]

    async def test_other_messages_are_no_hello(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            await journal.accept(updates("c1", 1))
            await eventually(lambda: relay.lag == 0)
            relay.on_message("CONTACT/OTHER", b"")
            assert relay._hello_at is None

    async def test_a_message_that_the_broker_did_not_acknowledge_is_sent_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
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
            await eventually(lambda: relay.lag == 0 and failures == 0)
        assert link.sent_ids() == [id_of(command) for command in sent]

    async def test_an_earlier_run_of_the_same_owner_is_continued(self) -> None:
        link = FakeLink()
        sent = updates("c1", 3)
        async with open_journal("gateway-1") as journal:
            await journal.accept(sent)
        async with open_journal("gateway-1") as journal, relaying(journal, link):
            link.connect()
            await eventually(lambda: len(link.sent_ids()) == 3)
        assert link.sent_ids() == [id_of(command) for command in sent]


class TestCancelling:
    async def test_a_cancel_is_sent_at_once_on_its_own_topic(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await eventually(lambda: len(link.messages) == 1)
            await journal.cancel(id_of(command))
            (found,) = await journal.read(lambda: rows.decided(10, cancels=True))
            await eventually(lambda: relay.decision_sent(found))
        topic, payload = link.messages[1]
        assert topic == topics.CANCEL
        (cancelled,) = CommandBatch.FromString(payload).command
        assert (cancelled.meta.command_id, cancelled.meta.cancelled) == (id_of(command), True)

    async def test_every_later_sending_carries_it(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link):
            first, second = updates("c1", 2)
            await journal.accept([first, second])
            await journal.cancel(id_of(first))
            link.connect()
            await eventually(lambda: id_of(second) in link.sent_ids())
            await eventually(lambda: id_of(first) in link.sent_ids())
        for topic, payload in link.messages:
            for command in commands_in(topic, payload):
                meta = command.meta
                assert meta.cancelled == (topic == topics.CANCEL) == (meta.command_id == id_of(first))

    async def test_a_writer_that_comes_later_has_to_be_told_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link) as relay:
            link.connect()
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await journal.cancel(id_of(command))
            (found,) = await journal.read(lambda: rows.decided(10, cancels=True))
            await eventually(lambda: relay.decision_sent(found))
            relay.on_message(topics.HELLO, b"")
            assert not relay.decision_sent(found)

    async def test_of_what_is_settled_nothing_is_remembered(self) -> None:
        link = FakeLink()
        async with open_journal(limit=1000) as journal, relaying(journal, link) as relay:
            link.connect()
            for _ in range(3):
                sent = updates("c1", 300)
                await journal.accept(sent)
                await asyncio.gather(*(journal.cancel(id_of(command)) for command in sent))
                await eventually(lambda: len(relay._decisions) == 300)
                journal.settle([notice(id_of(command), Notice.CANCELLED) for command in sent])
                assert relay._decisions == {}
            await eventually(lambda: relay.lag == 0)
            assert (relay._decisions, relay._cancels, relay._in_flight) == ({}, {}, set())

    async def test_cancels_that_wait_for_the_broker_are_bounded_and_the_sweep_finds_the_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "MAX_CANCELS", 2)
        async with open_journal() as journal, relaying(journal, FakeLink()) as relay:
            sent = updates("c1", 4)
            await journal.accept(sent)
            for command in sent:
                await journal.cancel(id_of(command))
            assert len(relay._cancels) == 2
            assert len(await journal.read(lambda: rows.decided(10, cancels=True))) == 4


class TestForeignParts:
    async def test_a_foreign_writer_gets_one_command_a_message_on_the_contracts_topics(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, delivery=to_a_foreign_writer) as relay:
            sent = updates("c1", 30)
            await journal.accept(sent)
            link.connect()
            await eventually(lambda: relay.lag == 0)
        assert {topic for topic, _ in link.messages} == {topics.UPDATE}
        assert link.sent_ids() == [id_of(command) for command in sent]
        assert {command.meta.depends_on for command in link.sent()} == {""}
        assert all(found.sent_at is not None for found in await rows_in_order())

    async def test_what_it_was_sent_it_is_never_sent_again(self) -> None:
        link = FakeLink()
        sent = updates("c1", 3)
        async with open_journal("gateway-1") as journal, relaying(journal, link, delivery=to_a_foreign_writer) as relay:
            link.connect()
            await journal.accept(sent)
            await eventually(lambda: relay.lag == 0)
            link.disconnect()
            link.connect()
            relay.on_message(topics.HELLO, b"")
            (last,) = updates("c1", 1)
            await journal.accept([last])
            await eventually(lambda: id_of(last) in link.sent_ids())
            await eventually(lambda: relay.lag == 0)
        async with open_journal("gateway-1") as journal, relaying(journal, link, delivery=to_a_foreign_writer):
            link.connect()
            (after,) = updates("c1", 1)
            await journal.accept([after])
            await eventually(lambda: id_of(after) in link.sent_ids())
        assert link.sent_ids() == [id_of(command) for command in [*sent, last, after]]

    async def test_what_was_lost_before_it_was_acknowledged_is_sent_again(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, delivery=to_a_foreign_writer) as relay:
            link.connect()
            gate = Gate(link)
            sent = updates("c1", 5)
            await journal.accept(sent)
            await eventually(lambda: gate.waiting == 5)
            link.disconnect()
            gate.open()
            link.hold = None
            await eventually(lambda: not relay._in_flight)
            link.connect()
            await eventually(lambda: relay.lag == 0)
        assert sorted(link.sent_ids()) == sorted(id_of(command) for command in sent)

    async def test_where_no_outcome_can_be_heard_commands_are_handed_over(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, delivery=without_outcomes) as relay:
            sent = updates("c1", 3)
            await journal.accept(sent)
            link.connect()
            for command in sent:
                assert (await journal.settled(id_of(command), 5)).state == "HANDED_OVER"
            link.disconnect()
            link.connect()
            relay.on_message(topics.HELLO, b"")
            (last,) = updates("c1", 1)
            await journal.accept([last])
            assert (await journal.settled(id_of(last), 5)).state == "HANDED_OVER"
        assert link.sent_ids() == [id_of(command) for command in [*sent, last]]
        assert {command.meta.depends_on for command in link.sent()} == {""}
        assert {found.state for found in await rows_in_order()} == {"HANDED_OVER"}

    async def test_what_the_broker_did_not_acknowledge_is_not_handed_over(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, delivery=without_outcomes) as relay:
            link.connect()
            gate = Gate(link)
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await eventually(lambda: gate.waiting == 1)
            link.disconnect()
            gate.open()
            await eventually(lambda: not relay._in_flight)
            assert (await row(id_of(command))).state == "QUEUED"
            assert not journal.is_settled(id_of(command))

    @pytest.mark.parametrize("delivery", [to_a_foreign_writer, without_outcomes])
    async def test_nothing_can_be_cancelled_where_nobody_would_hear_of_it(
        self, delivery: Callable[[], Delivery]
    ) -> None:
        now_is = delivery()
        async with open_journal(delivery=lambda: now_is) as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            with pytest.raises(NotCancellable, match="contract"):
                await journal.cancel(id_of(command))
            now_is = AtLeastOnce()
            await journal.cancel(id_of(command))

    def test_a_command_is_repeated_only_where_all_parts_know_ours(self) -> None:
        assert choose(foreign_writer=False, tells_outcomes=True) == AtLeastOnce()
        assert to_a_foreign_writer() == AtMostOnce(tells_outcomes=True, batch_size=1)
        assert without_outcomes() == AtMostOnce(tells_outcomes=False, batch_size=topics.BATCH_SIZE)
        assert choose(foreign_writer=True, tells_outcomes=False) == AtMostOnce(tells_outcomes=False, batch_size=1)

    async def test_a_cancel_from_elsewhere_does_not_keep_a_command_from_a_foreign_writer(self) -> None:
        link = FakeLink()
        async with open_journal() as journal, relaying(journal, link, delivery=to_a_foreign_writer):
            (command,) = updates("c1", 1)
            await journal.accept([command])
            await sync_to_async(Row.objects.update)(cancel_requested_at=datetime.now(UTC))
            link.connect()
            await eventually(lambda: link.sent_ids() == [id_of(command)])
        assert link.messages[0][0] == topics.UPDATE
