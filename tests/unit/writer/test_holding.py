import pytest

from cqrs.writer.delay_queue import AGAIN, BATCH, BATCH_BYTES, PATIENCE, Holding
from protocol.contact_pb2 import Contact
from protocol.contact_write_pb2 import Command, CommandBatch
from protocol.cqrs_command_pb2 import Operation
from tests.support import factories


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holding(clock: Clock) -> Holding:
    return Holding(delay=3.0, limit=5, now=clock)


def foreign(name: str = "Ada") -> Command:
    return Command(add=Contact(name=name))


def taken(holding: Holding) -> list[str]:
    return [held.command_id for held in holding.take()]


def ids(*commands: Command) -> list[str]:
    return [factories.id_of(command) for command in commands]


def test_a_command_is_due_when_the_delay_has_passed(holding: Holding, clock: Clock) -> None:
    command = factories.add()
    holding.hold(command)
    clock.now += 2.999
    assert taken(holding) == []
    clock.now += 0.001
    assert taken(holding) == ids(command)
    assert len(holding) == 0


def test_what_has_waited_waits_the_rest(holding: Holding, clock: Clock) -> None:
    command = factories.add(waited_ms=2_500)
    holding.hold(command)
    assert holding.next_due == pytest.approx(clock.now + 0.5)


@pytest.mark.parametrize("waited_ms", [3_000, 2**62])
def test_what_has_waited_the_whole_delay_is_due_at_once(holding: Holding, waited_ms: int) -> None:
    command = factories.add(waited_ms=waited_ms)
    holding.hold(command)
    assert taken(holding) == ids(command)


def test_nobody_waits_longer_than_the_delay(holding: Holding, clock: Clock) -> None:
    holding.hold(factories.add(waited_ms=-10_000))
    assert holding.next_due == clock.now + 3.0


def test_a_command_is_due_no_earlier_than_the_one_it_depends_on(holding: Holding, clock: Clock) -> None:
    first = factories.add()
    then = factories.update(factories.contact_of(first), depends_on=factories.id_of(first), waited_ms=3_000)
    holding.hold(first)
    holding.hold(then)
    assert taken(holding) == []
    clock.now += 3
    assert taken(holding) == ids(first, then)


def test_a_known_command_is_held_once(holding: Holding, clock: Clock) -> None:
    command = factories.add()
    holding.hold(command)
    clock.now += 1
    holding.hold(command)
    clock.now += 2
    assert taken(holding) == ids(command)
    clock.now += 10
    assert taken(holding) == []


def test_what_was_taken_is_held_again_when_it_is_sent_again(holding: Holding) -> None:
    command = factories.add(waited_ms=3_000)
    holding.hold(command)
    assert taken(holding) == ids(command)
    holding.hold(command)
    assert taken(holding) == ids(command)


def test_a_cancelled_command_replaces_the_held_one_and_is_due_now(holding: Holding, clock: Clock) -> None:
    command = factories.add()
    holding.hold(command)
    holding.hold(factories.cancelled(command))
    (held,) = holding.take()
    assert CommandBatch.FromString(held.payload).command[0].add.meta.cancelled
    clock.now += 10
    assert holding.take() == []


def test_a_command_sent_again_does_not_undo_its_cancel(holding: Holding) -> None:
    command = factories.add(waited_ms=3_000)
    holding.hold(factories.cancelled(command))
    holding.hold(command)
    (held,) = holding.take()
    assert held.decision == (True, 0)


def test_what_an_operator_decided_is_due_at_once_and_takes_the_place_of_what_was_decided_before(
    holding: Holding, clock: Clock
) -> None:
    command = factories.add()
    holding.hold(command)
    second = factories.operated(command, Operation.DISCARD, 9)
    for sent in (factories.operated(command, Operation.RETRY, 5), second, factories.operated(command, 1, 5), command):
        assert holding.hold(sent) is None
    (held,) = holding.take()
    assert CommandBatch.FromString(held.payload).command == [second]
    clock.now += 10
    assert holding.take() == []


def test_a_foreign_command_gets_an_id_and_waits_from_its_receipt(holding: Holding, clock: Clock) -> None:
    command = foreign()
    holding.hold(command)
    assert factories.id_of(command)
    clock.now += 2.9
    assert holding.take() == []
    clock.now += 0.1
    (held,) = holding.take()
    assert held.foreign
    assert CommandBatch.FromString(held.payload).command[0] == command


def test_joined_payloads_are_the_batch(holding: Holding) -> None:
    commands = [factories.add(str(number), waited_ms=3_000) for number in range(3)]
    for command in commands:
        holding.hold(command)
    batch = CommandBatch.FromString(b"".join(held.payload for held in holding.take()))
    assert list(batch.command) == commands


def test_fields_of_a_later_version_are_passed_on(holding: Holding) -> None:
    unknown = b"\xf2\x01\x03new"  # field 30
    command = Command(add=Contact.FromString(factories.add(waited_ms=3_000).add.SerializeToString() + unknown))
    holding.hold(command)
    assert unknown in holding.take()[0].payload


def test_where_there_is_no_room_ours_is_turned_away(holding: Holding) -> None:
    for _ in range(5):
        assert holding.hold(factories.add()) is None
    late = factories.add()
    out = holding.hold(late)
    assert out is not None
    assert out.command_id == factories.id_of(late)
    assert len(holding) == 5


def test_a_cancel_of_a_held_command_needs_no_room(holding: Holding) -> None:
    commands = [factories.add() for _ in range(5)]
    for command in commands:
        holding.hold(command)
    assert holding.hold(factories.cancelled(commands[0])) is None
    assert taken(holding) == ids(commands[0])


def test_ours_gives_way_to_a_foreign_command_and_can_be_sent_again(holding: Holding, clock: Clock) -> None:
    commands = [factories.add() for _ in range(5)]
    for command in commands:
        holding.hold(command)
    stranger = foreign()
    out = holding.hold(stranger)
    assert out is not None
    assert out.command_id == factories.id_of(commands[-1])
    clock.now += 3
    assert taken(holding) == ids(*commands[:-1], stranger)
    holding.hold(commands[-1])
    assert len(holding) == 1


def test_a_foreign_command_is_refused_only_among_foreign_ones(holding: Holding) -> None:
    strangers = [foreign() for _ in range(6)]
    refused = [holding.hold(stranger) for stranger in strangers]
    assert refused[:5] == [None] * 5
    assert refused[5] is not None
    assert refused[5].foreign
    assert holding.foreign_ids() == ids(*strangers[:5])


def test_a_left_command_is_offered_again_shortly_after(holding: Holding, clock: Clock) -> None:
    command = factories.add(waited_ms=3_000)
    holding.hold(command)
    assert holding.offer_again(holding.take()) == []
    assert holding.take() == []
    assert holding.next_due == pytest.approx(clock.now + AGAIN)
    clock.now += AGAIN
    assert taken(holding) == ids(command)


def test_left_commands_keep_their_order(holding: Holding, clock: Clock) -> None:
    commands = [factories.add(waited_ms=3_000) for _ in range(4)]
    for command in commands:
        holding.hold(command)
    left = holding.take()
    holding.offer_again(left[::-1])
    clock.now += AGAIN
    assert taken(holding) == ids(*commands)


def test_a_left_command_is_given_up_after_a_while(holding: Holding, clock: Clock) -> None:
    command = factories.add(waited_ms=3_000)
    holding.hold(command)
    start = clock.now
    while not (given_up := holding.offer_again(holding.take())):
        clock.now = holding.next_due
        assert clock.now < start + 2 * PATIENCE
    assert [held.command_id for held in given_up] == ids(command)
    assert clock.now >= start + PATIENCE
    assert len(holding) == 0


def test_a_left_foreign_command_is_never_given_up(holding: Holding, clock: Clock) -> None:
    holding.hold(foreign())
    clock.now += 3
    for _ in range(10):
        assert holding.offer_again(holding.take()) == []
        clock.now += PATIENCE
    assert len(holding) == 1


def test_a_left_command_that_was_sent_again_meanwhile_is_held_once(holding: Holding, clock: Clock) -> None:
    command = factories.add(waited_ms=3_000)
    holding.hold(command)
    left = holding.take()
    holding.hold(command)
    assert holding.offer_again(left) == []
    clock.now += 1
    assert taken(holding) == ids(command)
    assert holding.next_due == float("inf")


def test_many_left_commands_are_offered_less_often(clock: Clock) -> None:
    holding = Holding(delay=0, limit=100_000, now=clock)
    for _ in range(5_000):
        holding.hold(factories.add())
    left = []
    while batch := holding.take():
        left += batch
    holding.offer_again(left)
    assert holding.next_due == pytest.approx(clock.now + 0.25)


def test_a_batch_fits_one_call(clock: Clock) -> None:
    holding = Holding(delay=0, limit=100_000, now=clock)
    for _ in range(BATCH + 1):
        holding.hold(factories.add())
    assert [len(holding.take()) for _ in range(3)] == [BATCH, 1, 0]
    for _ in range(BATCH):
        holding.hold(factories.add("x" * 4_000))
    size = sum(len(held.payload) for held in holding.take())
    assert BATCH_BYTES - 5_000 < size <= BATCH_BYTES


def test_commands_due_at_once_come_in_the_order_of_their_receipt(clock: Clock) -> None:
    holding = Holding(delay=0, limit=100, now=clock)
    commands = [factories.add() for _ in range(50)]
    for command in commands:
        holding.hold(command)
    assert taken(holding) == ids(*commands)


def test_what_is_due_soon_after_the_next_is_due_together_with_it(clock: Clock) -> None:
    holding = Holding(delay=3.0, limit=10, now=clock)
    assert holding.due_together(0.004) == float("inf")
    for waited_ms in (0, 1_000, 1_990, 1_997, 1_998, 2_000):
        holding.hold(factories.add(waited_ms=waited_ms))
    assert holding.next_due == pytest.approx(clock.now + 1.0)
    assert holding.due_together(0) == holding.next_due
    assert holding.due_together(0.0025) == pytest.approx(holding.next_due + 0.002)
    assert holding.due_together(0.004) == pytest.approx(holding.next_due + 0.003)
    assert holding.due_together(10) == pytest.approx(clock.now + 3.0)
    assert holding.due_together(10, enough=1) == holding.next_due
    assert holding.due_together(10, enough=2) == pytest.approx(holding.next_due + 0.002)


def test_of_many_that_are_due_a_call_full_is_looked_at(clock: Clock) -> None:
    holding = Holding(delay=3.0, limit=4 * BATCH, now=clock)
    for _ in range(3 * BATCH):
        holding.hold(factories.add(waited_ms=3_000))
    assert holding.due_together(0.5) == holding.next_due
    assert len(holding.take()) == BATCH
