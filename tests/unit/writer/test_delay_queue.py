import pytest

from cqrs.writer.decoding import Received
from cqrs.writer.delay_queue import AGAIN, BATCH, BATCH_BYTES, PATIENCE, DelayQueue, ScheduledCommand
from protocol.cqrs_command_pb2 import Command, Operation
from tests.support import envelopes


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> DelayQueue:
    return DelayQueue(delay=3.0, limit=5, now=clock)


def received(command: Command, *, at_most_once: bool = False) -> Received:
    return Received(command, command.SerializeToString(), at_most_once)


def schedule(queue: DelayQueue, command: Command, *, at_most_once: bool = False) -> list[ScheduledCommand]:
    return queue.schedule(received(command, at_most_once=at_most_once))


def taken(queue: DelayQueue) -> list[str]:
    return [scheduled.command_id for scheduled in queue.take()]


def ids(*commands: Command) -> list[str]:
    return [envelopes.id_of(command) for command in commands]


def test_a_command_is_due_when_the_delay_has_passed(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add()
    schedule(queue, command)
    clock.now += 2.999
    assert taken(queue) == []
    clock.now += 0.001
    assert taken(queue) == ids(command)
    assert len(queue) == 0


def test_what_has_waited_waits_the_rest(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add(waited_ms=2_500)
    schedule(queue, command)
    assert queue.next_due == pytest.approx(clock.now + 0.5)


@pytest.mark.parametrize("waited_ms", [3_000, 2**62])
def test_what_has_waited_the_whole_delay_is_due_at_once(queue: DelayQueue, waited_ms: int) -> None:
    command = envelopes.add(waited_ms=waited_ms)
    schedule(queue, command)
    assert taken(queue) == ids(command)


def test_nobody_waits_longer_than_the_delay(queue: DelayQueue, clock: Clock) -> None:
    schedule(queue, envelopes.add(waited_ms=-10_000))
    assert queue.next_due == clock.now + 3.0


def test_a_command_is_due_no_earlier_than_the_one_it_depends_on(queue: DelayQueue, clock: Clock) -> None:
    first = envelopes.add()
    then = envelopes.update(first.aggregate_id, depends_on=envelopes.id_of(first), waited_ms=3_000)
    schedule(queue, first)
    schedule(queue, then)
    assert taken(queue) == []
    clock.now += 3
    assert taken(queue) == ids(first, then)


def test_a_known_command_is_scheduled_once(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add()
    schedule(queue, command)
    clock.now += 1
    schedule(queue, command)
    clock.now += 2
    assert taken(queue) == ids(command)
    clock.now += 10
    assert taken(queue) == []


def test_a_command_that_was_taken_is_scheduled_again_when_it_is_sent_again(queue: DelayQueue) -> None:
    command = envelopes.add(waited_ms=3_000)
    schedule(queue, command)
    assert taken(queue) == ids(command)
    schedule(queue, command)
    assert taken(queue) == ids(command)


def test_a_cancelled_command_replaces_the_scheduled_one_and_is_due_now(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add()
    schedule(queue, command)
    schedule(queue, envelopes.cancelled(command))
    (scheduled,) = queue.take()
    assert Command.FromString(scheduled.payload).meta.cancelled
    clock.now += 10
    assert queue.take() == []


def test_a_command_sent_again_does_not_undo_its_cancel(queue: DelayQueue) -> None:
    command = envelopes.add(waited_ms=3_000)
    schedule(queue, envelopes.cancelled(command))
    schedule(queue, command)
    (scheduled,) = queue.take()
    assert scheduled.decision == (True, 0)


def test_what_an_operator_decided_is_due_at_once_and_takes_the_place_of_what_was_decided_before(
    queue: DelayQueue, clock: Clock
) -> None:
    command = envelopes.add()
    schedule(queue, command)
    second = envelopes.operated(command, Operation.DISCARD, 9)
    for sent in (envelopes.operated(command, Operation.RETRY, 5), second, envelopes.operated(command, 1, 5), command):
        assert schedule(queue, sent) == []
    (scheduled,) = queue.take()
    assert Command.FromString(scheduled.payload) == second
    clock.now += 10
    assert queue.take() == []


def test_a_command_that_is_sent_at_most_once_waits_from_its_receipt(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add()
    schedule(queue, command, at_most_once=True)
    clock.now += 2.9
    assert queue.take() == []
    clock.now += 0.1
    (scheduled,) = queue.take()
    assert scheduled.at_most_once
    assert scheduled.command_id == envelopes.id_of(command)


def test_a_command_keeps_the_bytes_it_came_with(queue: DelayQueue) -> None:
    unknown = b"\xf2\x01\x03new"  # field 30
    payload = unknown + envelopes.add(waited_ms=3_000).SerializeToString()
    queue.schedule(Received(Command.FromString(payload), payload, False))
    assert [each.payload for each in queue.take()] == [payload]


def test_where_there_is_no_room_the_command_of_a_journal_is_turned_away(queue: DelayQueue) -> None:
    for _ in range(5):
        assert schedule(queue, envelopes.add()) == []
    late = envelopes.add()
    (dropped,) = schedule(queue, late)
    assert dropped.command_id == envelopes.id_of(late)
    assert len(queue) == 5


def test_a_cancel_of_a_waiting_command_needs_no_room(queue: DelayQueue) -> None:
    commands = [envelopes.add() for _ in range(5)]
    for command in commands:
        schedule(queue, command)
    assert schedule(queue, envelopes.cancelled(commands[0])) == []
    assert taken(queue) == ids(commands[0])


def test_the_command_of_a_journal_gives_way_to_one_that_nobody_sends_again(queue: DelayQueue, clock: Clock) -> None:
    commands = [envelopes.add() for _ in range(5)]
    for command in commands:
        schedule(queue, command)
    once = envelopes.add()
    (dropped,) = schedule(queue, once, at_most_once=True)
    assert dropped.command_id == envelopes.id_of(commands[-1])
    clock.now += 3
    assert taken(queue) == ids(*commands[:-1], once)
    schedule(queue, commands[-1])
    assert len(queue) == 1


def test_a_command_that_nobody_sends_again_is_turned_away_only_among_its_like(queue: DelayQueue) -> None:
    commands = [envelopes.add() for _ in range(6)]
    dropped = [schedule(queue, command, at_most_once=True) for command in commands]
    assert dropped[:5] == [[]] * 5
    assert [each.command_id for each in dropped[5]] == ids(commands[5])
    assert queue.ids(at_most_once=True) == ids(*commands[:5])


def test_the_bytes_of_all_commands_are_bounded(clock: Clock) -> None:
    queue = DelayQueue(3.0, 1_000, clock, max_bytes=100_000)
    large = [envelopes.add("x" * 30_000) for _ in range(4)]
    assert [len(schedule(queue, command)) for command in large] == [0, 0, 0, 1]
    assert queue.fill > 0.9
    # As many give way as it takes, the last first.
    once = envelopes.add("x" * 50_000)
    assert [each.command_id for each in schedule(queue, once, at_most_once=True)] == ids(large[2], large[1])
    clock.now += 3
    assert taken(queue) == ids(large[0], once)
    assert queue.fill == 0


def test_room_is_free_again_once_commands_are_taken_or_replaced(clock: Clock) -> None:
    queue = DelayQueue(0.0, 1_000, clock, max_bytes=100_000)
    for _ in range(10):
        command = envelopes.add("x" * 60_000)
        assert schedule(queue, command) == []
        for notice in range(1, 5):
            assert schedule(queue, envelopes.operated(command, Operation.RETRY, notice)) == []
        assert queue.reschedule(queue.take()) == []
        clock.now += AGAIN
        assert taken(queue) == ids(command)


def test_commands_that_were_replaced_do_not_pile_up(clock: Clock) -> None:
    queue = DelayQueue(3.0, 10, clock)
    command = envelopes.add()
    for notice in range(1_000):
        schedule(queue, envelopes.operated(command, Operation.RETRY, notice))
    assert len(queue._heap) <= 20
    assert taken(queue) == ids(command)


def test_a_deferred_command_is_due_again_shortly_after(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add(waited_ms=3_000)
    schedule(queue, command)
    assert queue.reschedule(queue.take()) == []
    assert queue.take() == []
    assert queue.next_due == pytest.approx(clock.now + AGAIN)
    clock.now += AGAIN
    assert taken(queue) == ids(command)


def test_deferred_commands_keep_their_order(queue: DelayQueue, clock: Clock) -> None:
    commands = [envelopes.add(waited_ms=3_000) for _ in range(4)]
    for command in commands:
        schedule(queue, command)
    deferred = queue.take()
    queue.reschedule(deferred[::-1])
    clock.now += AGAIN
    assert taken(queue) == ids(*commands)


def test_a_deferred_command_is_dropped_after_a_while(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add(waited_ms=3_000)
    schedule(queue, command)
    start = clock.now
    while not (dropped := queue.reschedule(queue.take())):
        clock.now = queue.next_due
        assert clock.now < start + 2 * PATIENCE
    assert [scheduled.command_id for scheduled in dropped] == ids(command)
    assert clock.now >= start + PATIENCE
    assert len(queue) == 0


def test_a_deferred_command_that_nobody_sends_again_is_never_dropped(queue: DelayQueue, clock: Clock) -> None:
    schedule(queue, envelopes.add(), at_most_once=True)
    clock.now += 3
    for _ in range(10):
        assert queue.reschedule(queue.take()) == []
        clock.now += PATIENCE
    assert len(queue) == 1


def test_a_deferred_command_that_was_sent_again_meanwhile_is_scheduled_once(queue: DelayQueue, clock: Clock) -> None:
    command = envelopes.add(waited_ms=3_000)
    schedule(queue, command)
    deferred = queue.take()
    schedule(queue, command)
    assert queue.reschedule(deferred) == []
    clock.now += 1
    assert taken(queue) == ids(command)
    assert queue.next_due == float("inf")


def test_many_deferred_commands_are_due_less_often(clock: Clock) -> None:
    queue = DelayQueue(delay=0, limit=100_000, now=clock)
    for _ in range(5_000):
        schedule(queue, envelopes.add())
    deferred = []
    while batch := queue.take():
        deferred += batch
    queue.reschedule(deferred)
    assert queue.next_due == pytest.approx(clock.now + 0.25)


def test_a_batch_fits_one_call(clock: Clock) -> None:
    queue = DelayQueue(delay=0, limit=100_000, now=clock)
    for _ in range(BATCH + 1):
        schedule(queue, envelopes.add())
    assert [len(queue.take()) for _ in range(3)] == [BATCH, 1, 0]
    for _ in range(BATCH):
        schedule(queue, envelopes.add("x" * 4_000))
    size = sum(len(scheduled.payload) for scheduled in queue.take())
    assert BATCH_BYTES - 5_000 < size <= BATCH_BYTES


def test_commands_due_at_once_come_in_the_order_of_their_receipt(clock: Clock) -> None:
    queue = DelayQueue(delay=0, limit=100, now=clock)
    commands = [envelopes.add() for _ in range(50)]
    for command in commands:
        schedule(queue, command)
    assert taken(queue) == ids(*commands)


def test_what_is_due_soon_after_the_next_is_due_together_with_it(clock: Clock) -> None:
    queue = DelayQueue(delay=3.0, limit=10, now=clock)
    assert queue.due_together(0.004) == float("inf")
    for waited_ms in (0, 1_000, 1_990, 1_997, 1_998, 2_000):
        schedule(queue, envelopes.add(waited_ms=waited_ms))
    assert queue.next_due == pytest.approx(clock.now + 1.0)
    assert queue.due_together(0) == queue.next_due
    assert queue.due_together(0.0025) == pytest.approx(queue.next_due + 0.002)
    assert queue.due_together(0.004) == pytest.approx(queue.next_due + 0.003)
    assert queue.due_together(10) == pytest.approx(clock.now + 3.0)
    assert queue.due_together(10, enough=1) == queue.next_due
    assert queue.due_together(10, enough=2) == pytest.approx(queue.next_due + 0.002)


def test_of_many_that_are_due_a_call_full_is_looked_at(clock: Clock) -> None:
    queue = DelayQueue(delay=3.0, limit=4 * BATCH, now=clock)
    for _ in range(3 * BATCH):
        schedule(queue, envelopes.add(waited_ms=3_000))
    assert queue.due_together(0.5) == queue.next_due
    assert len(queue.take()) == BATCH
