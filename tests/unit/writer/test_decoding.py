import pytest

from contacts_write.go_contract import GoTopics
from cqrs.writer.decoding import MAX_KIND, Decoded, Decoder
from cqrs.writer.delay_queue import BATCH_BYTES
from cqrs.writer.malformed import MAX_KEPT
from protocol import rules, topics
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command, Operation, SerializedBatch
from tests.support.envelopes import add, batch, command, delete, update

GO = GoTopics()


def decode(topic: str, payload: bytes) -> Decoded:
    return Decoder(GO).decode(topic, payload)


def commands(decoded: Decoded) -> list[Command]:
    """The envelopes; their payloads are the same, serialised."""
    assert [Command.FromString(each.payload) for each in decoded.commands] == [
        each.envelope for each in decoded.commands
    ]
    return [each.envelope for each in decoded.commands]


def test_each_topic_of_the_codec_carries_one_command() -> None:
    for each in (add(), update("c1"), delete("c1")):
        encoded = GO.encode(each)
        assert encoded is not None
        decoded = decode(*encoded)
        assert (commands(decoded), decoded.malformed) == ([each], [])
        assert not decoded.commands[0].at_most_once


@pytest.mark.parametrize("topic", [topics.BATCH, topics.CANCEL])
def test_batches_carry_many_commands_of_any_aggregate_in_order(topic: str) -> None:
    sent = [add(), command("note.write", "n1", b"\xff not a message"), delete("c1")]
    decoded = decode(topic, batch(*sent))
    assert (commands(decoded), decoded.malformed) == (sent, [])


def test_a_command_of_a_batch_keeps_its_bytes() -> None:
    """Also those that protobuf would write otherwise: here the fields are in another order, and one is unknown."""
    odd = b"\x22\x01x" + b"\x1a\x02c1" + b"\xf2\x01\x03new" + b"\x12\x0bcontact.add" + b"\x0a\x05\x0a\x03one"
    (received,) = decode(topics.BATCH, SerializedBatch(command=[odd]).SerializeToString()).commands
    assert received.payload == odd
    assert (received.envelope.kind, received.envelope.meta.command_id) == ("contact.add", "one")


def test_a_message_of_the_example_is_a_command_with_an_id_from_here() -> None:
    # Contact{1: "", 2: "Ada"} as Go writes it: empty fields are left out.
    decoded = decode(topics.ADD, b"\x12\x03Ada")
    (envelope,) = commands(decoded)
    assert decoded.commands[0].at_most_once
    assert envelope.meta.command_id
    envelope.ClearField("meta")
    assert envelope == Command(kind="contact.add", body=b"\x12\x03Ada")


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (topics.ADD, b"\xff\xff", "not the message"),
        (topics.ADD, b"\x12\x02\xff\xfe", "not the message"),  # no UTF-8
        (topics.BATCH, b"\xff", "not the message"),
        (topics.BATCH, b"\x0a\x01\xff", "not a command"),
        (topics.BATCH, b"", "no command"),
        (topics.CANCEL, b"", "no command"),
        (topics.BATCH, batch(Command()), "without a kind"),
        (topics.BATCH, batch(command("x" * (MAX_KIND + 1))), "kind has 101 characters"),
        (topics.BATCH, batch(command("note.write", "", command_id="one")), "without an aggregate id"),
        (topics.BATCH, batch(command("note.write", "n" * (rules.MAX_ID + 1))), "aggregate id has 101 characters"),
        (topics.BATCH, batch(command("note.write", body=bytes(topics.MAX_COMMAND))), "at most 65536"),
        (topics.ADD, b"x" * (topics.MAX_PAYLOAD + 1), "at most 1048576"),
        (topics.ADD, Contact(name="x" * topics.MAX_COMMAND).SerializeToString(), "at most 65536"),
        (topics.BATCH, batch(add(command_id="no id!")), "command id must"),
    ],
)
def test_a_malformed_message_comes_with_its_reason(topic: str, payload: bytes, reason: str) -> None:
    found, (record,) = decode(topic, payload)
    assert found == []
    assert reason in record.reason
    assert record.topic == topic
    assert record.received_at.seconds > 0


@pytest.mark.parametrize(
    "bad", [add("x" * topics.MAX_COMMAND, command_id="one").SerializeToString(), b"\xff"], ids=["large", "no message"]
)
def test_one_malformed_command_of_a_batch_does_not_stop_the_others(bad: bytes) -> None:
    good = add()
    decoded = decode(topics.BATCH, SerializedBatch(command=[bad, good.SerializeToString()]).SerializeToString())
    assert commands(decoded) == [good]
    assert len(decoded.malformed) == 1


def test_a_large_payload_is_kept_in_part_and_its_size_in_full() -> None:
    _, (record,) = decode(topics.ADD, b"\xff" * 100_000)
    assert len(record.payload) == MAX_KEPT
    assert record.size == 100_000


@pytest.mark.parametrize(
    ("refused", "topic"), [(delete("c1"), topics.DELETE), (command("note.write"), topics.BATCH)], ids=["alone", "batch"]
)
def test_a_refused_command_is_recorded_as_a_message_of_its_own_topic(refused: Command, topic: str) -> None:
    record = Decoder(GO).record_of_refused(refused.SerializeToString(), "why")
    assert (record.topic, record.reason) == (topic, "why")
    assert commands(decode(record.topic, record.payload)) == [refused]


def test_the_largest_body_fits_a_command_with_the_largest_meta() -> None:
    largest = command(
        "k" * MAX_KIND,
        "n" * rules.MAX_ID,
        bytes(topics.MAX_BODY),
        command_id="c" * rules.MAX_ID,
        depends_on="c" * rules.MAX_ID,
        actor="\U0001f600" * 150,
        seen="s" * 200,
        operation=Operation(kind=Operation.AMEND, notice=2**62, actor="\U0001f600" * 150),
    )
    assert commands(decode(topics.BATCH, batch(largest))) == [largest]


def test_the_largest_command_of_a_contact_by_the_rules_is_one() -> None:
    largest = update(
        "c" * rules.MAX_ID,
        "\U0001f600" * rules.MAX_NAME,
        command_id="c" * rules.MAX_ID,
        depends_on="c" * rules.MAX_ID,
        actor="\U0001f600" * 150,
        waited_ms=2**62,
        expected_version=2**62,
        cancelled=True,
    )
    encoded = GO.encode(largest)
    assert encoded is not None
    assert commands(decode(*encoded)) == [largest]
    assert 1000 * largest.ByteSize() < BATCH_BYTES
