"""Rows into the messages of the protocol. The columns are selected in the order of these tuples."""

from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cqrs.store.positions import position_of
from protocol.cqrs_notice_pb2 import Notice


class NoticeRow(NamedTuple):
    """A row of `models.Notice`; times in milliseconds."""

    number: int
    command_id: str
    kind: int
    aggregate: str
    command_kind: str
    aggregate_id: str
    state: bytes
    version: int
    summary: str
    message: str
    reason: int
    actor: str
    depends_on: str
    committed_at: int


NOTICE_COLUMNS = ", ".join(NoticeRow._fields)


def timestamp(milliseconds: int) -> Timestamp:
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def notice_of(database: str, row: NoticeRow) -> Notice:
    """The notice of `row` in the history of `database` (its identity)."""
    notice = Notice(
        position=position_of(database, row.number, row.command_id, row.committed_at),
        number=row.number,
        kind=row.kind,  # type: ignore[arg-type]  # the numbers in the column are the protocol's
        command_id=row.command_id,
        aggregate=row.aggregate,
        command_kind=row.command_kind,
        aggregate_id=row.aggregate_id,
        state=bytes(row.state),
        version=row.version,
        message=row.message,
        reason=row.reason,  # type: ignore[arg-type]
        actor=row.actor,
    )
    time = notice.committed_at
    time.SetInParent()  # so that it is there even where it is the first moment of 1970
    time.seconds = row.committed_at // 1000
    time.nanos = row.committed_at % 1000 * 1_000_000
    return notice
