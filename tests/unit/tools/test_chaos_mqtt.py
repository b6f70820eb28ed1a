import random
from itertools import pairwise

import pytest

from chaos import mqtt


def publish(payload: bytes, packet_id: int, topic: bytes = b"CONTACT/ADD", flags: int = 0x32) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic
    body += packet_id.to_bytes(2, "big") if flags & 0x06 else b""
    body += payload
    length, encoded = len(body), bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        encoded.append(byte | 0x80 if length else byte)
        if not length:
            return bytes([flags]) + bytes(encoded) + body


PINGREQ = b"\xc0\x00"


def test_packets_are_cut_wherever_the_chunks_end() -> None:
    sent = [publish(b"x", 1), PINGREQ, publish(b"y" * 20_000, 2), publish(b"", 3)]
    stream = b"".join(sent)
    dice = random.Random(1)
    for _ in range(50):
        cuts = [0, *sorted(dice.sample(range(1, len(stream)), 9)), len(stream)]
        packets = mqtt.Packets()
        assert [packet for a, b in pairwise(cuts) for packet in packets.feed(stream[a:b])] == sent


def test_what_is_no_mqtt_is_refused() -> None:
    with pytest.raises(ValueError, match="remaining length"):
        mqtt.Packets().feed(b"\x30\xff\xff\xff\xff\x01")
    with pytest.raises(ValueError, match="bytes"):
        mqtt.Packets().feed(b"\x30\xff\xff\xff\x7f")


def test_a_doubled_message_goes_again_without_a_packet_id() -> None:
    (first, second), back, held = mqtt.Garbler(random.Random(1), double=1, drop=0, hold=0).pass_on(
        publish(b"x" * 300, 9)
    )
    assert first == publish(b"x" * 300, 9)
    assert second == publish(b"x" * 300, 0, flags=0x30)
    assert (back, held) == ([], [])


def test_a_dropped_message_is_acknowledged_in_the_receivers_place() -> None:
    garbler = mqtt.Garbler(random.Random(1), double=0, drop=1, hold=0)
    assert garbler.pass_on(publish(b"x", 0x1234)) == ([], [b"\x40\x02\x12\x34"], [])
    assert garbler.pass_on(publish(b"x", 0, flags=0x30)) == ([], [], [])


def test_a_held_message_is_neither_passed_nor_acknowledged() -> None:
    garbler = mqtt.Garbler(random.Random(1), double=0, drop=0, hold=1)
    assert garbler.pass_on(publish(b"x", 1)) == ([], [], [publish(b"x", 1)])


def test_what_is_no_message_always_passes() -> None:
    garbler = mqtt.Garbler(random.Random(1), double=0, drop=1, hold=0)
    assert garbler.pass_on(PINGREQ) == ([PINGREQ], [], [])
