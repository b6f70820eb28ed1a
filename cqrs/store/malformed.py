"""Messages that are no commands, kept where an operator sees them."""

from collections.abc import Sequence

from django.db import transaction

from cqrs.store.database import ALIAS
from cqrs.store.messages import milliseconds
from cqrs.store.models import MAX_MESSAGE_TEXT, MAX_PAYLOAD, MalformedMessage
from protocol.cqrs_write_pb2 import Malformed

KEPT = 1000

# The end of the year 9999, in milliseconds: a later time is none that a person can be shown.
_LATEST = 253_402_300_799_999


def record(messages: Sequence[Malformed]) -> None:
    """Keeps the messages, and of all of them the newest 1,000."""
    stored = MalformedMessage.objects.using(ALIAS)
    with transaction.atomic(using=ALIAS):
        stored.bulk_create([_row_of(message) for message in messages[-KEPT:]])
        oldest_kept = list(stored.order_by("-id").values_list("id", flat=True)[KEPT - 1 : KEPT])
        if oldest_kept:
            stored.filter(id__lt=oldest_kept[0]).delete()


def _row_of(message: Malformed) -> MalformedMessage:
    return MalformedMessage(
        topic=message.topic[:200].replace("\0", ""),
        payload=message.payload[:MAX_PAYLOAD],
        size=max(message.size, len(message.payload)),
        reason=message.reason[:MAX_MESSAGE_TEXT].replace("\0", ""),
        received_at=min(max(milliseconds(message.received_at), 0), _LATEST),
    )
