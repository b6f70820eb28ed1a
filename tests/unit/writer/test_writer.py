import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self

import pytest

from contacts_write.go_contract import GoTopics
from cqrs.writer import delay_queue, malformed, writer
from cqrs.writer.apply_client import Applied, Refused
from cqrs.writer.delay_queue import ScheduledCommand
from cqrs.writer.writer import Writer
from protocol import topics
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_write_pb2 import Malformed
from tests.support import envelopes
from tests.support.polling import eventually


class FakeLink:
    """Connected from the start; what is delivered to it reaches the writer."""

    def __init__(self, *, topics: Sequence[str], on_message: Any, on_connect: Any) -> None:
        self.topics = topics
        self.deliver = on_message
        self.on_connect = on_connect
        self.published: list[tuple[str, bytes]] = []
        self.open = False

    async def run(self) -> None:
        self.open = True
        try:
            await self.on_connect()
            await asyncio.Event().wait()
        finally:
            self.open = False

    async def publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))


class FakeDatabase:
    """Applies everything, unless told to defer or refuse it; keeps what it was sent."""

    def __init__(self) -> None:
        self.batches: list[list[Command]] = []
        self.recorded: list[Malformed] = []
        self.deferred: set[str] = set()
        self.refused: set[str] = set()
        self.waiting = False
        self.keeps_outcomes = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_flight = self.most_in_flight = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def apply(self, batch: Sequence[ScheduledCommand]) -> Applied:
        if batch:
            self.batches.append([Command.FromString(each.payload) for each in batch])
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.gate.wait()
        finally:
            self.in_flight -= 1
        return Applied(
            [each for each in batch if each.command_id in self.deferred],
            [Refused(each, "no good") for each in batch if each.command_id in self.refused],
        )

    async def record(self, records: Sequence[Malformed]) -> bool:
        self.recorded += records
        return self.keeps_outcomes

    @property
    def applied(self) -> list[str]:
        return [envelopes.id_of(command) for batch in self.batches for command in batch]


class Running:
    """A writer at work between the two fakes."""

    def __init__(self, delay: float, limit: int, linger: float) -> None:
        self.database = FakeDatabase()
        self.writer = Writer(self.database, self._connect, GoTopics(), delay=delay, limit=limit, linger=linger)
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self.writer.run(self._stop.wait()))

    def _connect(self, **arguments: Any) -> FakeLink:
        self.link = FakeLink(**arguments)
        return self.link

    def send(self, *commands: Command, topic: str = topics.BATCH) -> None:
        self.link.deliver(topic, envelopes.batch(*commands))

    async def stop(self) -> None:
        self._stop.set()
        await self.task


Start = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def start() -> Start:
    @contextlib.asynccontextmanager
    async def running(delay: float = 0.0, limit: int = 1000, linger: float = 0.002) -> AsyncIterator[Running]:
        running = Running(delay, limit, linger)
        await eventually(lambda: running.task.done() or running.link.published)
        yield running
        await asyncio.wait_for(running.stop(), 10)

    return running


async def test_it_subscribes_the_commands_and_then_says_hello(start: Start) -> None:
    async with start() as running:
        assert set(running.link.topics) == {
            topics.ADD,
            topics.UPDATE,
            topics.DELETE,
            topics.BATCH,
            topics.CANCEL,
        }
        assert running.link.published == [(topics.HELLO, b"")]


async def test_it_says_once_that_it_is_ready_and_with_which_delay(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start(delay=2.5) as running:
        await running.link.on_connect()
    lines = [record.message for record in caplog.records if "ready" in record.message]
    assert len(lines) == 1
    assert "2.5 s" in lines[0]


@pytest.mark.parametrize(("linger", "batches"), [(1.0, 1), (0.0, 2)])
async def test_commands_that_are_due_one_soon_after_the_other_go_in_one_call(
    start: Start, linger: float, batches: int
) -> None:
    async with start(delay=0.4, linger=linger) as running:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        last, first = envelopes.add(), envelopes.add(waited_ms=200)
        running.send(last, first)
        await eventually(lambda: len(running.database.applied) == 2)
        assert loop.time() - sent >= 0.4, "none is early"
        assert running.database.applied == [envelopes.id_of(first), envelopes.id_of(last)]
        assert len(running.database.batches) == batches


async def test_after_a_call_with_many_commands_the_next_waits_for_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BUSY", 1)
    monkeypatch.setattr(writer, "BUSY_LINGER", 1.0)
    async with start(delay=0.4, linger=0.0) as running:
        running.send(envelopes.add(waited_ms=400))
        await eventually(lambda: running.database.applied)
        running.send(envelopes.add(), envelopes.add(waited_ms=200))
        await eventually(lambda: len(running.database.applied) == 3)
        assert [len(batch) for batch in running.database.batches] == [1, 2]


async def test_a_command_that_is_due_alone_waits_for_no_other(start: Start) -> None:
    async with start(delay=0.1, linger=60.0) as running:
        running.send(envelopes.add())
        await eventually(lambda: running.database.applied)


async def test_a_command_is_applied_when_it_is_due_and_not_before(start: Start) -> None:
    async with start(delay=0.2) as running:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        command = envelopes.add()
        running.link.deliver(topics.ADD, GoTopics().encode(command)[1])
        await eventually(lambda: running.database.batches)
        assert loop.time() - sent >= 0.2
        assert running.database.batches == [[command]]


async def test_an_earlier_one_is_not_held_up_by_those_before_it(start: Start) -> None:
    async with start(delay=600) as running:
        running.send(envelopes.add())
        await asyncio.sleep(0)
        resent = envelopes.add(waited_ms=600_000)
        running.send(resent)
        await eventually(lambda: running.database.applied == [envelopes.id_of(resent)])


async def test_one_call_is_in_flight_and_what_comes_due_meanwhile_goes_in_the_next(start: Start) -> None:
    async with start() as running:
        running.database.gate.clear()
        running.send(envelopes.add())
        await eventually(lambda: running.database.in_flight == 1)
        for _ in range(50):
            running.send(envelopes.add())
        running.database.gate.set()
        await eventually(lambda: len(running.database.applied) == 51)
        assert [len(batch) for batch in running.database.batches] == [1, 50]
        assert running.database.most_in_flight == 1


async def test_what_is_sent_again_during_the_call_is_applied_again(start: Start) -> None:
    """If it were still known then, it would be lost with a call that fails."""
    async with start() as running:
        running.database.gate.clear()
        command = envelopes.add()
        running.send(command)
        await eventually(lambda: running.database.in_flight == 1)
        running.send(command)
        running.database.gate.set()
        await eventually(lambda: running.database.applied == [envelopes.id_of(command)] * 2)


async def test_a_deferred_command_is_tried_until_it_is_applied(start: Start) -> None:
    async with start() as running:
        command = envelopes.add()
        running.database.deferred = {envelopes.id_of(command)}
        running.send(command)
        await eventually(lambda: len(running.database.batches) >= 3)
        running.database.deferred = set()
        count = len(running.database.batches)
        await eventually(lambda: len(running.database.batches) > count)
        await eventually(lambda: not len(running.writer._queue))


async def test_a_command_that_the_database_refuses_is_recorded_with_its_reason_and_its_id_is_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as running:
        good, bad = envelopes.add(), envelopes.add()
        running.database.refused = {envelopes.id_of(bad)}
        running.send(bad, good)
        await eventually(lambda: running.database.recorded)
        (record,) = running.database.recorded
        assert record.payload == GoTopics().encode(bad)[1]
        assert "no good" in record.reason
        assert f"command={envelopes.id_of(bad)}" in caplog.text
        assert f"command={envelopes.id_of(good)}" not in caplog.text


async def test_a_malformed_message_is_recorded_and_stops_nobody(start: Start) -> None:
    async with start() as running:
        command = envelopes.add()
        running.link.deliver(topics.ADD, b"\xff")
        running.send(command)
        running.link.deliver(topics.BATCH, b"")
        await eventually(lambda: len(running.database.recorded) == 2)
        await eventually(lambda: running.database.applied == [envelopes.id_of(command)])


async def test_over_its_limit_it_drops_and_says_so_once_an_outage(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start(delay=600, limit=10) as running:
        held = [envelopes.add() for _ in range(10)]
        running.send(*held)
        running.send(*[envelopes.add() for _ in range(20)])
        assert caplog.text.count("the delay queue is full") == 1
        running.send(*[envelopes.cancelled(command) for command in held[:5]])
        await eventually(lambda: len(running.database.applied) == 5)
        running.send(envelopes.add())
        assert caplog.text.count("20 commands were dropped") == 1
        running.send(*[envelopes.add() for _ in range(20)])
        assert caplog.text.count("the delay queue is full") == 2


async def test_told_to_stop_it_receives_no_more_and_ends_the_call_in_flight(start: Start) -> None:
    async with start() as running:
        running.database.gate.clear()
        running.send(envelopes.add())
        await eventually(lambda: running.database.in_flight == 1)
        stopping = asyncio.create_task(running.stop())
        await eventually(lambda: not running.link.open)
        assert not stopping.done()
        running.database.gate.set()
        await asyncio.wait_for(stopping, 5)
        assert running.database.in_flight == 0


async def test_told_to_stop_it_does_not_wait_for_what_is_held_and_says_what_is_lost(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start(delay=600) as running:
        ours = envelopes.add()
        running.send(ours, envelopes.add())
        running.link.deliver(topics.ADD, Contact(name="Ada").SerializeToString())
        (stranger,) = running.writer._queue.ids(at_most_once=True)
    assert running.database.batches == []
    assert "2 commands in the delay queue, which the journal will send again" in caplog.text
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [line for line in warnings if f"command={stranger}" in line]
    assert envelopes.id_of(ours) not in caplog.text


async def test_told_to_stop_it_does_not_wait_for_a_database_that_is_away(start: Start) -> None:
    async with start() as running:
        running.database.gate.clear()
        running.send(envelopes.add())
        await eventually(lambda: running.database.in_flight == 1)
        running.database.waiting = True
        await asyncio.wait_for(running.stop(), 1)


async def test_malformed_messages_without_end_cost_bounded_memory(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as running:
        for _ in range(1_500):
            running.link.deliver(topics.ADD, b"\xff")
        assert len(running.writer._malformed) == 1_000
        await eventually(lambda: len(running.database.recorded) == 1_000)
        await eventually(lambda: "could not record 500 malformed messages" in caplog.text)


async def test_large_malformed_messages_cost_bounded_memory(start: Start) -> None:
    async with start() as running:
        for _ in range(1_000):
            running.link.deliver(topics.ADD, b"\xff" * 100_000)
        assert len(running.writer._malformed) == malformed.MAX_WAITING_BYTES // malformed.MAX_KEPT


async def test_where_no_outcome_is_kept_nothing_is_said_to_be_sent_again(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Journals then hand each command over once: a command that is dropped is lost, and so are those that wait."""
    caplog.set_level(logging.INFO)
    async with start(delay=600, limit=1) as running:
        running.database.keeps_outcomes = False
        waiting, dropped = envelopes.add(), envelopes.add()
        running.send(waiting, dropped)
    lost = [record.message for record in caplog.records if record.message.startswith("lost")]
    assert [line.partition("command=")[2] for line in lost] == [envelopes.id_of(dropped), envelopes.id_of(waiting)]
    assert "will send" not in caplog.text


async def test_a_message_that_nobody_keeps_is_said_to_be_so_and_not_to_be_recorded(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as running:
        running.database.keeps_outcomes = False
        running.link.deliver(topics.ADD, b"\xff")
        await eventually(lambda: "could not record 1 malformed messages" in caplog.text)
    assert "on CONTACT/ADD of 1 bytes: not the message" in caplog.text
    assert "recorded 1" not in caplog.text


async def test_a_command_that_is_deferred_for_too_long_is_left_to_its_journal_and_said(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(delay_queue, "PATIENCE", 0.0)
    async with start() as running:
        command = envelopes.add()
        running.database.deferred = {envelopes.id_of(command)}
        running.send(command)
        await eventually(lambda: "deferred 1 commands" in caplog.text)
        assert not len(running.writer._queue)
    assert f"the journal will send them again: command={envelopes.id_of(command)}" in caplog.text
