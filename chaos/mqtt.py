"""MQTT 3.1.1 packets, as far as a proxy has to know them to double, drop and hold back messages."""

import random
from typing import NamedTuple

PUBLISH, SUBSCRIBE = 3, 8
_MAX_PACKET = 16 * 1024 * 1024


class Packets:
    """Cuts a byte stream into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The packets that are complete with this chunk. Raises ValueError when it is no MQTT."""
        self._rest += chunk
        packets = []
        while (size := _size(self._rest)) and len(self._rest) >= size:
            packets.append(bytes(self._rest[:size]))
            del self._rest[:size]
        return packets


def _size(data: bytearray) -> int:
    """Bytes of the packet that begins here; 0: too little of it is there to tell."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            if length > _MAX_PACKET:
                raise ValueError(f"an MQTT packet of {length} bytes")
            return 2 + place + length
    if len(data) >= 5:
        raise ValueError("not MQTT: the remaining length does not end")
    return 0


def type_of(packet: bytes) -> int:
    return packet[0] >> 4


class Passed(NamedTuple):
    """The packets that a packet turns into: sent on, sent back to its sender, held until others have overtaken them."""

    on: list[bytes]
    back: list[bytes]
    held: list[bytes]


class Garbler:
    """Doubles, drops and holds back PUBLISH packets, each with its probability, within what a broker is free to do.

    A second copy goes as QoS 0, which nobody acknowledges. A dropped one is acknowledged to its sender in the
    receiver's place: lost after the acknowledgement is the harder case, and the one brokers are known for; an
    unacknowledged message is sent again anyway. A held one passes after others; the caller releases it in time.
    """

    def __init__(self, dice: random.Random, *, double: float = 0.25, drop: float = 0.15, hold: float = 0.25) -> None:
        self._dice = dice
        self._double = double
        self._drop = drop
        self._hold = hold

    def pass_on(self, packet: bytes) -> Passed:
        if type_of(packet) != PUBLISH:
            return Passed([packet], [], [])
        chance = self._dice.random() - self._double
        if chance < 0:
            return Passed([packet, as_qos_0(packet)], [], [])
        chance -= self._drop
        if chance < 0:
            return Passed([], acknowledgement(packet), [])
        if chance < self._hold:
            return Passed([], [], [packet])
        return Passed([packet], [], [])


def as_qos_0(publish: bytes) -> bytes:
    """The same message without a packet id, for which no acknowledgement comes."""
    start, topic_end, qos = _parts(publish)
    body = publish[start:topic_end] + publish[topic_end + (2 if qos else 0) :]
    # QoS and DUP are bits 1 to 3 of the first byte.
    return bytes([publish[0] & ~0x0E]) + _encoded(len(body)) + body


def acknowledgement(publish: bytes) -> list[bytes]:
    """The PUBACK of a QoS 1 message; none of a QoS 0 one."""
    _, topic_end, qos = _parts(publish)
    return [b"\x40\x02" + publish[topic_end : topic_end + 2]] if qos == 1 else []


def _parts(publish: bytes) -> tuple[int, int, int]:
    """Where topic length and topic begin, where they end, and the QoS."""
    start = 1
    while publish[start] & 0x80:
        start += 1
    start += 1
    return start, start + 2 + int.from_bytes(publish[start : start + 2], "big"), publish[0] >> 1 & 3


def _encoded(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        encoded.append(byte | 0x80 if length else byte)
        if not length:
            return bytes(encoded)
