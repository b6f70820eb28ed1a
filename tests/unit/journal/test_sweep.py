import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async

import contacts_write as api
from contacts_write import aretry_command
from contacts_write.go_contract import GoTopics
from cqrs.journal import rows, takeover
from cqrs.journal import sweep as sweep_module
from cqrs.journal.clock import Clock, now
from cqrs.journal.delivery import AtLeastOnce, Delivery, choose
from cqrs.journal.journal import Journal
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record
from cqrs.journal.relay import Relay
from cqrs.journal.sweep import Sweep
from protocol import topics
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Operation
from protocol.cqrs_notice_pb2 import Notice
from tests.support import envelopes as commands
from tests.support.fakes import FakeLink
from tests.support.journals import id_of, notice, open_journal, row, rows_in_order, updates, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal


class Away(Exception):
    """Nobody can tell."""


class Reader:
    """What the sweep asks: knows the outcomes that a test gave it."""

    def __init__(self) -> None:
        self.known: dict[str, Notice] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    def knows(self, *notices: Notice) -> None:
        self.known |= {one.command_id: one for one in notices}

    async def get_outcomes(self, command_ids: Sequence[str]) -> Mapping[str, Notice]:
        assert 0 < len(command_ids) <= 1000
        if self.error is not None:
            raise self.error
        self.asked += command_ids
        return {command_id: self.known[command_id] for command_id in command_ids if command_id in self.known}


class Gateway:
    """Journal, relay and sweep of one process over a fake broker and reader. The sweep looks when it is told to."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.link = FakeLink()
        self.reader = Reader()
        self.delivery: Delivery = AtLeastOnce()
        self.relay = Relay(journal, self.link, GoTopics(), delivery=lambda: self.delivery)
        self.link.on_connect = self.relay.on_connect
        self.sweep = Sweep(journal, self.relay, self.reader.get_outcomes, away=(Away,), delivery=lambda: self.delivery)

    async def send(self, *contacts: str) -> list[str]:
        """Accepts an update of each contact, waits until it is sent, and forgets that it was."""
        ids = []
        for contact in contacts:
            (command,) = updates(contact, 1)
            await self.journal.accept([command])
            ids.append(id_of(command))
        await eventually(lambda: self.relay.lag == 0)
        self.link.messages.clear()
        return ids

    async def first_round(self) -> None:
        await self.sweep.repair()
        assert not self.sweep._first
        self.reader.asked.clear()

    def fall_silent(self) -> None:
        """As if nothing had been heard for a second."""
        self.journal.settled_on -= sweep_module.SILENCE

    def forget_pauses(self) -> None:
        """As if the pauses between two questions were over."""
        self.sweep._asked = {key: asked._replace(again_at=0.0) for key, asked in self.sweep._asked.items()}


@contextlib.asynccontextmanager
async def gateway(owner: str = "gateway-1", *, single: bool = False, connected: bool = True) -> AsyncIterator[Gateway]:
    async with open_journal(owner, delay=0) as journal:
        made = Gateway(journal)
        made.delivery = choose(foreign_writer=single, tells_outcomes=True)
        task = asyncio.create_task(made.relay.run())
        if connected:
            made.link.connect()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])


async def age(seconds: float, *command_ids: str) -> None:
    """Makes the commands due so long ago."""
    moment = now() - timedelta(seconds=seconds)
    rows = Row.objects.filter(command_id__in=command_ids)
    await sync_to_async(rows.update)(takes_effect_at=moment, accepted_at=moment - timedelta(seconds=3))


async def operate(ours: Gateway, command_id: str, notice_number: int) -> None:
    """An operator has the command tried again, in another process."""
    parked = commands.update("c1", command_id=command_id)
    await aretry_command(parked, notice_number, actor="grace")


class TestWhatIsOverdue:
    async def test_a_command_that_fell_behind_those_that_took_effect_is_overdue(self) -> None:
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(0.5, lost)
            await one.sweep.repair()
            assert one.reader.asked == []
            (applied,) = await one.send("c2")
            one.journal.settle([notice(applied)])
            await one.sweep.repair()
            assert one.reader.asked == [lost]
            assert one.link.sent_ids() == [lost]

    async def test_a_command_is_overdue_after_a_second_of_silence(self) -> None:
        async with gateway() as one:
            await one.first_round()
            old, young = await one.send("c1", "c2")
            await age(1.5, old)
            await age(0.5, young)
            await one.sweep.repair()
            assert one.reader.asked == []
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == [old]

    async def test_what_others_tell_of_strangers_is_no_sign_that_ours_proceed(self) -> None:
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(1.5, lost)
            one.fall_silent()
            one.journal.settle([notice("stranger")])
            await one.sweep.repair()
            assert one.reader.asked == [lost]

    async def test_a_cancelled_command_does_not_make_those_before_it_overdue(self) -> None:
        async with open_journal("gateway-1", delay=60) as journal:
            waiting, cancelled = updates("c1", 1)[0], updates("c2", 1)[0]
            await journal.accept([waiting, cancelled])
            journal.settle([notice(id_of(cancelled), Notice.CANCELLED)])
            assert journal.newest_due == 0

    async def test_a_clock_that_was_set_back_makes_nothing_overdue_before_its_time(self) -> None:
        async with gateway() as one:
            await one.first_round()
            one.journal.newest_due = (now() + timedelta(hours=1)).timestamp()
            (waiting,) = await one.send("c1")
            await age(-2, waiting)
            await one.sweep.repair()
            assert one.reader.asked == []

    async def test_what_only_waits_to_be_recorded_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with gateway() as one:
            await one.first_round()
            (ended,) = await one.send("c1")
            await age(10, ended)
            one.journal.settle([notice(ended)])
            one.fall_silent()
            assert (await row(ended)).state == "QUEUED"
            await one.sweep.repair()
            assert one.reader.asked == []

    async def test_what_the_relay_has_yet_to_send_is_late_and_not_lost(self) -> None:
        async with gateway(connected=False) as one:
            await one.first_round()
            (command,) = updates("c1", 1)
            await one.journal.accept([command])
            await age(10, id_of(command))
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == []

    async def test_another_gateways_command_is_overdue_a_second_later(self) -> None:
        async with gateway("gateway-1") as one, open_journal("gateway-2", delay=0) as two:
            await one.first_round()
            (command,) = updates("c1", 1)
            await two.accept([command])
            await age(1.5, id_of(command))
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == []
            await age(2.5, id_of(command))
            await one.sweep.repair()
            assert one.link.sent_ids() == [id_of(command)]

    async def test_at_the_start_all_that_others_left_is_asked_for_once_due_or_not(self) -> None:
        left = updates("c1", 3)
        async with open_journal("gateway-1", delay=3600) as journal:
            await journal.accept(left)
        async with gateway("gateway-2") as two:
            two.reader.knows(notice(id_of(left[0])))
            await two.sweep.repair()
            assert two.reader.asked == [id_of(command) for command in left]
            assert two.link.sent_ids() == [id_of(command) for command in left[1:]]
            assert two.journal.is_settled(id_of(left[0]))
            two.forget_pauses()
            two.sweep._asked.clear()
            two.fall_silent()
            await two.sweep.repair()
            assert len(two.reader.asked) == 3


class TestRepair:
    async def test_what_is_known_is_settled_and_the_rest_sent_again(self) -> None:
        async with gateway() as one:
            await one.first_round()
            known, unknown = await one.send("c1", "c2")
            await age(5, known, unknown)
            one.reader.knows(notice(known, Notice.REJECTED, reason=Notice.NOT_FOUND))
            one.fall_silent()
            await one.sweep.repair()
            assert one.link.sent_ids() == [unknown]
            found = await one.journal.settled(known, 1)
            assert (found.state, found.reason) == ("REJECTED", "NOT_FOUND")

    async def test_what_is_sent_again_does_not_wait_again(self) -> None:
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(5, lost)
            one.journal.clock = Clock(monotonic=lambda: time.monotonic() + 5)
            one.fall_silent()
            await one.sweep.repair()
            assert one.link.sent()[0].meta.waited_ms == 3000

    async def test_a_command_is_asked_for_less_and_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep_module.random, "uniform", lambda _low, _high: 1.0)
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(5, lost)
            one.fall_silent()
            pauses = []
            for _ in range(6):
                await one.sweep.repair()
                await one.sweep.repair()
                pauses.append(round(one.sweep._asked[lost].again_at - asyncio.get_running_loop().time()))
                one.forget_pauses()
            assert pauses == [1, 2, 4, 8, 8, 8]
            assert one.reader.asked == [lost] * 6

    async def test_a_writer_that_comes_gets_at_once_what_a_gateway_that_is_gone_has_left(self) -> None:
        async with gateway("gateway-1") as one, open_journal("gateway-2", delay=0) as two:
            await one.first_round()
            (ours,) = await one.send("c1")
            (command,) = updates("c2", 1)
            await two.accept([command])
            await age(5, ours)
            await age(5, id_of(command))
            one.fall_silent()
            await one.sweep.repair()
            assert set(one.link.sent_ids()) == {ours, id_of(command)}
            one.link.messages.clear()
            await one.sweep.repair()
            assert one.link.sent_ids() == []
            one.sweep.on_message("CONTACT/OTHER", b"")
            await one.sweep.repair()
            assert one.link.sent_ids() == []
            one.sweep.on_message(topics.HELLO, b"")
            await one.sweep.repair()
            assert one.link.sent_ids() == [id_of(command)]

    async def test_while_all_that_is_known_waits_for_its_time_nothing_is_looked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[object] = []
        real = rows.due_before

        def counted(*arguments: Any) -> list[Record]:
            looks.append(arguments)
            return real(*arguments)

        monkeypatch.setattr(rows, "due_before", counted)
        async with gateway() as one:
            await one.first_round()
            looks.clear()
            for _ in range(5):
                await one.sweep._repair_unless_quiet()
            assert looks == []
            (lost,) = await one.send("c1")
            await age(5, lost)
            one.fall_silent()
            await one.sweep._repair_unless_quiet()
            assert one.reader.asked == [lost]
            looks.clear()
            for _ in range(5):
                await one.sweep._repair_unless_quiet()
            assert looks == []
            one.sweep.begin_again()
            await one.sweep._repair_unless_quiet()
            assert one.reader.asked == [lost, lost]

    async def test_a_settled_command_is_forgotten(self) -> None:
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(5, lost)
            one.fall_silent()
            await one.sweep.repair()
            one.journal.settle([notice(lost)])
            await eventually(lambda: not one.journal.is_settled(lost))
            await one.sweep.repair()
            assert one.sweep._asked == {}

    async def test_a_parked_command_is_asked_for_and_not_sent(self) -> None:
        async with gateway() as one:
            await one.first_round()
            (parked,) = await one.send("c1")
            await age(5, parked)
            one.reader.knows(notice(parked, Notice.PARKED))
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == [parked]
            assert one.link.messages == []
            assert one.sweep._asked[parked].again_at > asyncio.get_running_loop().time() + 20

    async def test_many_overdue_commands_are_seen_to_in_bounded_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep_module, "ASK_AT_ONCE", 3)
        monkeypatch.setattr(sweep_module, "PAGES", 2)
        async with gateway() as one:
            await one.first_round()
            lost = await one.send(*(f"c{number}" for number in range(11)))
            await age(5, *lost)
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == lost[:6]
            await one.sweep.repair()
            assert one.reader.asked == lost
            assert one.link.sent_ids() == lost
            one.forget_pauses()
            await one.sweep.repair()
            assert one.reader.asked == [*lost, *lost[:6]]

    async def test_while_nobody_can_tell_nothing_is_sent_and_that_is_said_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "cqrs.journal.sweep")
        async with gateway() as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(5, lost)
            one.fall_silent()
            one.reader.error = Away("UNAVAILABLE: no route")
            for _ in range(3):
                await one.sweep.repair()
            assert one.link.messages == []
            one.reader.error = None
            await one.sweep.repair()
            assert one.link.sent_ids() == [lost]
        assert [record.getMessage() for record in caplog.records] == [
            "waiting to ask what became of 1 overdue commands: UNAVAILABLE: no route",
            "asking again what became of overdue commands",
        ]

    async def test_a_broker_that_is_away_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep_module, "ASK_AT_ONCE", 2)
        left = updates("c1", 5)
        async with open_journal("gateway-1", delay=3600) as journal:
            await journal.accept(left)
        async with gateway("gateway-2", connected=False) as two:
            for _ in range(3):
                await two.sweep.repair()
                assert two.sweep._first
            two.link.connect()
            await two.sweep.repair()
            assert sorted(two.link.sent_ids()) == sorted(map(id_of, left))

    async def test_an_outage_of_the_broker_does_not_make_pauses_grow(self) -> None:
        async with open_journal("gateway-1", delay=0) as journal, gateway("gateway-2") as two:
            await two.first_round()
            (lost,) = updates("c1", 1)
            await journal.accept([lost])
            await age(10, id_of(lost))
            two.fall_silent()
            two.link.disconnect()
            for _ in range(5):
                await two.sweep.repair()
            assert two.link.messages == []
            two.link.connect()
            await two.sweep.repair()
            assert two.link.sent_ids() == [id_of(lost)]

    async def test_where_the_read_side_knows_only_the_contract_commands_are_handed_over(self) -> None:
        left = updates("c2", 1)
        async with open_journal("gateway-0", delay=0) as journal:
            await journal.accept(left)
        async with gateway() as one:
            (ours,) = await one.send("c1")
            await age(5, ours)
            one.fall_silent()
            one.delivery = choose(foreign_writer=False, tells_outcomes=False)
            await one.sweep.repair()
            assert one.reader.asked == []
            assert one.link.sent_ids() == [id_of(left[0])]
            for command_id in (ours, id_of(left[0])):
                assert (await one.journal.settled(command_id, 5)).state == "HANDED_OVER"


class TestPickingUp:
    async def test_a_command_without_an_owner_is_claimed_and_sent(self) -> None:
        async with gateway() as one:
            accepted = await api.aadd_contact("Ada", actor="shell")
            await one.sweep.pick_up()
            # Twice where the relay reads its rows for the first time just then, which is harmless.
            await eventually(lambda: set(one.link.sent_ids()) == {accepted.command_id})
            found = await row(accepted.command_id)
            assert (found.owner, found.number) == ("gateway-1", 1)

    async def test_one_of_several_gateways_gets_it(self) -> None:
        async with gateway("gateway-1") as one, gateway("gateway-2") as two:
            accepted = [await api.aadd_contact(f"name {number}") for number in range(5)]
            await asyncio.gather(one.sweep.pick_up(), two.sweep.pick_up())
            await eventually(lambda: len({*one.link.sent_ids(), *two.link.sent_ids()}) == 5)
            sent_by_one, sent_by_two = set(one.link.sent_ids()), set(two.link.sent_ids())
        assert sent_by_one | sent_by_two == {each.command_id for each in accepted}
        assert not sent_by_one & sent_by_two

    async def test_a_gateway_without_a_broker_leaves_it_to_the_others(self) -> None:
        async with gateway(connected=False) as one:
            accepted = await api.aadd_contact("Ada")
            await one.sweep.pick_up()
            assert (await row(accepted.command_id)).owner == ""
            assert await one.journal.is_pending("contact", accepted.contact_id)

    async def test_a_claimed_command_that_could_not_be_sent_is_sent_later(self) -> None:
        async with gateway() as one:
            await one.send("c1", "c2")
            accepted = await api.aadd_contact("Ada")

            async def lose() -> None:
                one.link.disconnect()

            one.link.hold = lose
            await one.sweep.pick_up()
            assert (await row(accepted.command_id)).owner == "gateway-1"
            one.link.hold = None
            one.link.connect()
            await eventually(lambda: accepted.command_id in one.link.sent_ids())

    async def test_a_cancel_from_elsewhere_is_sent_once_a_connection(self) -> None:
        async with gateway() as one:
            (command_id,) = await one.send("c1")
            await api.acancel_command(command_id, actor="shell")
            for _ in range(3):
                await one.sweep.pick_up()
            assert [topic for topic, _ in one.link.messages] == [topics.CANCEL]
            one.relay.on_message(topics.HELLO, b"")
            await one.sweep.pick_up()
            assert [topic for topic, _ in one.link.messages].count(topics.CANCEL) >= 2

    async def test_what_an_operator_decided_is_sent_once_a_connection(self) -> None:
        async with gateway() as ours:
            (command_id,) = await ours.send("c1")
            ours.journal.settle([notice(command_id, Notice.PARKED, version=None, number=5)])
            await eventually(lambda: not ours.journal._completions._to_record)
            await operate(ours, command_id, 5)
            await ours.sweep.pick_up()
            await ours.sweep.pick_up()
            ((topic, payload),) = ours.link.messages
            assert topic == topics.UPDATE
            meta = Contact.FromString(payload).meta
            assert (meta.operation.kind, meta.operation.notice, meta.operation.actor) == (Operation.RETRY, 5, "grace")
            ours.relay.on_message(topics.HELLO, b"")
            await ours.sweep.pick_up()
            assert ours.link.sent_ids() == [command_id, command_id]

    async def test_what_an_operator_decides_is_sent_also_where_the_relay_has_begun_again(self) -> None:
        async with gateway() as ours:
            (command_id,) = await ours.send("c1")
            ours.journal.settle([notice(command_id, Notice.PARKED, version=None, number=5)])
            await eventually(lambda: not ours.journal._completions._to_record)
            ours.relay.on_connect()
            await eventually(lambda: ours.relay.lag == 0)
            ours.link.messages.clear()
            await operate(ours, command_id, 5)
            await ours.sweep.pick_up()
            assert ours.link.sent_ids() == [command_id]

    async def test_a_newer_notice_is_what_came_of_it_and_an_older_is_not(self) -> None:
        async with gateway() as ours:
            (command_id,) = await ours.send("c1")
            await operate(ours, command_id, 5)
            for number, still_open in ((5, True), (3, True), (6, False)):
                ours.journal.settle([notice(command_id, Notice.PARKED, version=None, number=number)])
                await eventually(lambda: not ours.journal._completions._known)
                assert (await row(command_id)).operation_open is still_open
            await ours.sweep.pick_up()
            assert ours.link.messages == []

    async def test_what_the_database_did_not_hear_of_an_operator_is_sent_again(self) -> None:
        async with gateway() as ours:
            await ours.first_round()
            (command_id,) = await ours.send("c1")
            await operate(ours, command_id, 5)
            await ours.sweep.pick_up()
            await age(10, command_id)
            ours.fall_silent()
            ours.link.messages.clear()
            ours.reader.knows(notice(command_id, Notice.PARKED, version=None, number=5))
            await ours.sweep.repair()
            assert ours.link.sent_ids() == [command_id]
            assert ours.sweep._asked[command_id].again_at < asyncio.get_running_loop().time() + 2
            ours.reader.knows(notice(command_id, Notice.PARKED, version=None, number=6))
            ours.forget_pauses()
            ours.link.messages.clear()
            await ours.sweep.repair()
            assert ours.link.messages == []

    async def test_a_command_that_no_journal_knew_is_adopted_and_sent_once(self) -> None:
        async with gateway() as ours:
            parked = commands.update("c1", "Ada", actor="stranger", expected_version=3)
            await aretry_command(parked, 7, actor="grace")
            await ours.sweep.pick_up()
            await ours.sweep.pick_up()
            ((_, payload),) = ours.link.messages
            meta = Contact.FromString(payload).meta
            assert (meta.command_id, meta.operation.notice) == (commands.id_of(parked), 7)
            found = await row(commands.id_of(parked))
            assert (found.state, found.owner, found.actor, found.expected_version) == (
                "PARKED",
                "gateway-1",
                "stranger",
                3,
            )
            ours.journal.settle([notice(commands.id_of(parked))])
            await eventually(lambda: not ours.journal._completions._known)
            assert (await row(commands.id_of(parked))).state == "APPLIED"

    async def test_it_runs_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sweep_module, "EVERY", 0.01)
        async with gateway() as one:
            task = asyncio.create_task(one.sweep.run())
            accepted = await api.aadd_contact("Ada")
            await eventually(lambda: accepted.command_id in one.link.sent_ids())
            one.reader.knows(notice(accepted.command_id, Notice.ADDED))
            await age(10, accepted.command_id)
            one.fall_silent()
            assert (await one.journal.settled(accepted.command_id, 5)).state == "APPLIED"
            task.cancel()
            await asyncio.wait([task])
            await asyncio.wait([task])


class TestForeignWriter:
    async def test_it_is_not_sent_a_command_again(self) -> None:
        async with gateway(single=True) as one:
            await one.first_round()
            known, unknown = await one.send("c1", "c2")
            await age(5, known, unknown)
            one.reader.knows(notice(known))
            one.fall_silent()
            await one.sweep.repair()
            assert one.reader.asked == [known, unknown]
            assert one.link.messages == []
            assert (await one.journal.settled(known, 1)).state == "APPLIED"
            assert not one.journal.is_settled(unknown)

    async def test_after_a_minute_of_silence_a_command_it_has_is_given_up(self) -> None:
        async with gateway(single=True) as one:
            await one.first_round()
            (lost,) = await one.send("c1")
            await age(takeover.GIVE_UP + 1, lost)
            one.fall_silent()
            await one.sweep.repair()
            assert (await one.journal.settled(lost, 1)).state == "HANDED_OVER"

    async def test_what_a_dead_gateway_never_got_to_send_is_taken_over(self) -> None:
        left = updates("c1", 2)
        async with open_journal("gateway-1", delay=0) as journal:
            await journal.accept(left)
            await journal.write(lambda: rows.mark_sent([id_of(left[0])]))
        await age(takeover.TAKE_OVER + 1, *(id_of(command) for command in left))
        async with gateway("gateway-2", single=True) as two:
            await two.sweep.repair()
            assert two.link.sent_ids() == [id_of(left[1])]
            assert [found.owner for found in await rows_in_order()] == ["gateway-1", "gateway-2"]
            two.forget_pauses()
            await two.sweep.repair()
            assert two.link.sent_ids() == [id_of(left[1])]

    async def test_what_another_gateway_may_still_send_is_left_to_it(self) -> None:
        left = updates("c1", 1)
        async with open_journal("gateway-1", delay=0) as journal:
            await journal.accept(left)
        await age(takeover.TAKE_OVER - 5, id_of(left[0]))
        async with gateway("gateway-2", single=True) as two:
            await two.sweep.repair()
            assert two.reader.asked == [id_of(left[0])]
            assert two.link.messages == []
