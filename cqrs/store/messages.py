"""Rows into the messages of the protocol. The columns are selected in the order of these tuples."""

from typing import NamedTuple, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from cqrs.store.positions import position_of
from protocol.contact_pb2 import Contact
from protocol.notice_pb2 import Notice


class NoticeRow(NamedTuple):
    """A row of `models.Notice`; times in milliseconds."""

    number: int
    command_id: str
    kind: int
    contact_id: str
    name: str
    version: int
    last_updated: int | None
    message: str
    reason: int
    actor: str
    depends_on: str
    committed_at: int


# The time in milliseconds.
ContactRow: TypeAlias = tuple[str, str, int, int]

CONTACT_COLUMNS = "id, name, version, last_updated"
NOTICE_COLUMNS = ", ".join(NoticeRow._fields)


def timestamp(milliseconds: int) -> Timestamp:
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def contact_of(id: str, name: str, version: int, last_updated: int) -> Contact:
    contact = Contact()
    fill_contact(contact, id, name, version, last_updated)
    return contact


def fill_contact(contact: Contact, id: str, name: str, version: int, last_updated: int) -> None:
    """Makes an empty contact this one. A message built where it stays costs half of one that is copied there."""
    contact.id = id
    contact.name = name
    contact.version = version
    _fill_time(contact.last_updated, last_updated)


def _fill_time(time: Timestamp, milliseconds: int) -> None:
    time.SetInParent()  # so that it is there even where it is the first moment of 1970
    time.seconds = milliseconds // 1000
    time.nanos = milliseconds % 1000 * 1_000_000


def notice_of(database: str, row: NoticeRow) -> Notice:
    """The notice of `row` in the history of `database` (its identity)."""
    notice = Notice(
        position=position_of(database, row.number, row.command_id, row.committed_at),
        number=row.number,
        kind=row.kind,  # type: ignore[arg-type]  # the numbers in the column are the protocol's
        command_id=row.command_id,
        contact_id=row.contact_id,
        message=row.message,
        reason=row.reason,  # type: ignore[arg-type]
        actor=row.actor,
    )
    _fill_time(notice.committed_at, row.committed_at)
    if row.last_updated is not None:
        fill_contact(notice.contact, row.contact_id, row.name, row.version, row.last_updated)
    return notice
