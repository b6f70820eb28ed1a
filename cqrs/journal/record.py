"""A journaled command as it is sent."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet

from cqrs.journal.accepted import Accepted
from cqrs.journal.models import Command as Row
from cqrs.journal.pending import Key
from protocol.cqrs_command_pb2 import Command, Operation

_OPERATIONS: dict[str, Operation.Kind] = {
    Row.Operation.RETRY: Operation.RETRY,
    Row.Operation.AMEND: Operation.AMEND,
    Row.Operation.DISCARD: Operation.DISCARD,
}


class Record(NamedTuple):
    """What sending needs of a journal row. `command`: all of its message but what depends on when it is sent."""

    number: int
    command: Command
    accepted_at: datetime
    takes_effect_at: datetime
    owner: str
    state: str = Row.State.QUEUED
    sent_at: datetime | None = None
    operation_open: bool = False

    @property
    def command_id(self) -> str:
        return self.command.meta.command_id

    @property
    def depends_on(self) -> str:
        return self.command.meta.depends_on

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was requested."""
        return self.command.meta.cancelled

    @property
    def decision(self) -> tuple[bool, int]:
        """What was decided about the command since it was accepted: equal where that is equal."""
        meta = self.command.meta
        return meta.cancelled, meta.operation.notice

    @property
    def key(self) -> Key:
        aggregate, _, _ = self.command.kind.partition(".")
        return aggregate, self.command.aggregate_id

    def accepted(self) -> Accepted:
        return Accepted(self.command_id, *self.key, self.accepted_at, self.takes_effect_at)

    def waited_ms(self, elapsed: float) -> int:
        """How much of the delay has passed, if so many seconds have since acceptance: 0 to the delay."""
        delay = (self.takes_effect_at - self.accepted_at).total_seconds()
        return int(max(min(elapsed, delay), 0.0) * 1000)


class _Columns(NamedTuple):
    """The columns that a record is made of, in the order they are read."""

    number: int
    command_id: str
    aggregate: str
    verb: str
    aggregate_id: str
    body: bytes
    expected_version: int | None
    actor: str
    depends_on: str
    accepted_at: datetime
    takes_effect_at: datetime
    owner: str
    state: str
    cancel_requested_at: datetime | None
    sent_at: datetime | None
    operation: str
    operation_notice: int | None
    operation_by: str
    operation_open: bool
    amended_body: bytes | None
    amended_version: int | None


def records(rows: QuerySet[Row]) -> list[Record]:
    """The records of these rows. (No model instances: these cost several times as much.)"""
    values: Iterable[tuple[object, ...]] = rows.values_list(*_Columns._fields)
    return [_record(_Columns._make(each)) for each in values]


def _record(row: _Columns) -> Record:
    command = command_of(row.command_id, f"{row.aggregate}.{row.verb}", row.aggregate_id, bytes(row.body))
    meta = command.meta
    meta.actor = row.actor
    meta.depends_on = row.depends_on
    meta.cancelled = row.cancel_requested_at is not None
    expected = row.expected_version
    if row.amended_body is not None:
        command.body = bytes(row.amended_body)
        expected = row.amended_version
    if expected is not None:
        meta.expected_version = expected
    # Also when it is done: a database that was restored has not done it.
    if row.operation:
        meta.operation.kind = _OPERATIONS[row.operation]
        meta.operation.notice = row.operation_notice or 0
        meta.operation.actor = row.operation_by
    return Record(
        row.number,
        command,
        row.accepted_at,
        row.takes_effect_at,
        row.owner,
        row.state,
        row.sent_at,
        row.operation_open,
    )


def command_of(command_id: str, kind: str, aggregate_id: str, body: bytes) -> Command:
    """An envelope with no more in its meta than the command id."""
    command = Command(kind=kind, aggregate_id=aggregate_id, body=body)
    command.meta.command_id = command_id
    return command


def expected_version(command: Command) -> int | None:
    return command.meta.expected_version if command.meta.HasField("expected_version") else None
