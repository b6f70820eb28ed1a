import pytest

from cqrs.writer.decoding import MAX_COMMAND, MAX_KEPT, decode, refused
from cqrs.writer.delay_queue import BATCH_BYTES
from protocol import rules, topics
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command, CommandBatch
from tests.support import factories


def test_each_topic_of_the_contract_carries_one_command() -> None:
    add, update, delete = factories.add(), factories.update("c1"), factories.delete("c1")
    assert decode(topics.ADD, add.add.SerializeToString()) == ([add], [])
    assert decode(topics.UPDATE, update.update.SerializeToString()) == ([update], [])
    assert decode(topics.DELETE, delete.delete.SerializeToString()) == ([delete], [])


@pytest.mark.parametrize("topic", [topics.BATCH, topics.CANCEL])
def test_batches_carry_many_commands_in_order(topic: str) -> None:
    commands = [factories.add(), factories.update("c1"), factories.delete("c1")]
    assert decode(topic, CommandBatch(command=commands).SerializeToString()) == (commands, [])


def test_a_message_of_the_example_is_a_command() -> None:
    # Contact{1: "", 2: "Ada"} as Go writes it: empty fields are left out.
    assert decode(topics.ADD, b"\x12\x03Ada") == ([Command(add=Contact(name="Ada"))], [])
    assert decode(topics.DELETE, b"\x0a\x02id") == ([Command(delete=ContactReference(id="id"))], [])


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (topics.ADD, b"\xff\xff", "not the message"),
        (topics.ADD, b"\x12\x02\xff\xfe", "not the message"),  # no UTF-8
        (topics.BATCH, b"", "no command"),
        (topics.CANCEL, b"", "no command"),
        (topics.BATCH, CommandBatch(command=[Command()]).SerializeToString(), "neither"),
        (topics.ADD, b"x" * (topics.MAX_PAYLOAD + 1), "at most 1048576"),
        (topics.ADD, Contact(name="x" * MAX_COMMAND).SerializeToString(), "at most 4096"),
        (topics.ADD, factories.add(command_id="no id!").add.SerializeToString(), "command id must"),
    ],
)
def test_what_is_no_command_comes_with_its_reason(topic: str, payload: bytes, reason: str) -> None:
    commands, (record,) = decode(topic, payload)
    assert commands == []
    assert reason in record.reason
    assert record.topic == topic
    assert record.received_at.seconds > 0


def test_one_bad_command_of_a_batch_does_not_stop_the_others() -> None:
    good, bad = factories.add(), factories.add("x" * MAX_COMMAND)
    commands, records = decode(topics.BATCH, CommandBatch(command=[bad, good]).SerializeToString())
    assert commands == [good]
    assert len(records) == 1


def test_a_large_payload_is_kept_in_part_and_its_size_in_full() -> None:
    _, (record,) = decode(topics.ADD, b"\xff" * 100_000)
    assert len(record.payload) == MAX_KEPT
    assert record.size == 100_000


def test_a_refused_command_is_recorded_as_a_message_of_its_own_topic() -> None:
    command = factories.delete("c1")
    record = refused(command, "why")
    assert decode(record.topic, record.payload).commands == [command]


def test_the_largest_command_by_the_rules_is_one() -> None:
    command = factories.update(
        "c" * rules.MAX_ID,
        "\U0001f600" * rules.MAX_NAME,
        command_id="c" * rules.MAX_ID,
        depends_on="c" * rules.MAX_ID,
        actor="\U0001f600" * 150,
        waited_ms=2**62,
        expected_version=2**62,
        cancelled=True,
    )
    assert decode(topics.UPDATE, command.update.SerializeToString()).commands == [command]
    assert 1000 * command.ByteSize() < BATCH_BYTES
