"""Malformed messages."""

import pytest

from cqrs.store import malformed
from cqrs.store.models import MalformedMessage
from protocol.cqrs_write_pb2 import Malformed

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])


def message(reason: str, payload: bytes = b"\xff", **fields: object) -> Malformed:
    return Malformed(topic="CONTACT/ADD", payload=payload, reason=reason, **fields)


def test_a_message_is_kept_with_its_reason():
    its = message("no Contact", size=7)
    its.received_at.FromMilliseconds(1_764_000_000_123)
    malformed.record([its])
    row = MalformedMessage.objects.get()
    assert (row.topic, bytes(row.payload), row.size, row.reason) == ("CONTACT/ADD", b"\xff", 7, "no Contact")
    assert row.received_at.timestamp() == 1_764_000_000.123


def test_a_long_message_is_cut_and_says_how_long_it_was():
    malformed.record([message("x" * 10_000, b"p" * 100_000)])
    row = MalformedMessage.objects.get()
    assert (len(row.payload), row.size, len(row.reason)) == (65_536, 100_000, 500)


def test_the_newest_thousand_are_kept():
    malformed.record([message(str(number)) for number in range(990)])
    malformed.record([message(str(number)) for number in range(990, 1_005)])
    assert [int(row.reason) for row in MalformedMessage.objects.order_by("id")] == list(range(5, 1_005))
    malformed.record([message(str(number)) for number in range(2_000, 5_000)])
    assert [int(row.reason) for row in MalformedMessage.objects.order_by("id")] == list(range(4_000, 5_000))
