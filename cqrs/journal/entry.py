"""A journaled command as it is sent, and the answer to who sent it."""

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from cqrs.journal.models import Command as Row
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import CommandMeta, Operation

_OPERATIONS: dict[str, Operation.Kind] = {
    Row.Operation.RETRY: Operation.RETRY,
    Row.Operation.AMEND: Operation.AMEND,
    Row.Operation.DISCARD: Operation.DISCARD,
}


class Accepted(NamedTuple):
    """The promise to whoever sent a command: it is journaled. Times are UTC."""

    command_id: str
    contact_id: str
    accepted_at: datetime
    takes_effect_at: datetime


class Entry(NamedTuple):
    """What sending needs of a journal row; on the path of every command, hence no model instance."""

    number: int
    command_id: str
    kind: str
    contact_id: str
    name: str
    expected_version: int | None
    actor: str
    depends_on: str
    accepted_at: datetime
    takes_effect_at: datetime
    owner: str
    state: str
    cancel_requested_at: datetime | None
    sent_at: datetime | None
    operation: str = ""
    operation_notice: int | None = None
    operation_by: str = ""
    operation_open: bool = False
    amended: bool = False
    amended_name: str = ""
    amended_version: int | None = None

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was asked for."""
        return self.cancel_requested_at is not None

    @property
    def decision(self) -> tuple[str, bool, int | None]:
        """What was decided about the command since it was accepted: equal where that is equal."""
        return self.command_id, self.cancelled, self.operation_notice

    def numbered(self, number: int) -> "Entry":
        """The same, with its number. (`_replace` takes three times as long.)"""
        return Entry._make((number, *self[1:]))

    def accepted(self) -> Accepted:
        return Accepted(self.command_id, self.contact_id, self.accepted_at, self.takes_effect_at)

    def message(self, now: datetime, *, seen: str = "", contract_only: bool = False) -> Command:
        """The command as a message sent at `now`.

        seen: the position of a notice; a database whose history lacks it leaves the command.
        contract_only: for parts that may know only the contract, and that are never sent it again: it waits for no
        other command and is not withdrawn, and goes to any database.
        """
        command = Command()
        self.fill(command, now, seen=seen, contract_only=contract_only)
        return command

    def fill(self, command: Command, now: datetime, *, seen: str = "", contract_only: bool = False) -> None:
        """Makes an empty command that message."""
        # Filled in place: messages that are made apart are copied into each other, which costs three times as much.
        body: Any = getattr(command, self.kind.lower())
        body.id = self.contact_id
        if self.kind != Row.Kind.DELETE:
            body.name = self.amended_name if self.amended else self.name
        meta: CommandMeta = body.meta
        meta.command_id = self.command_id
        meta.waited_ms = _waited_ms(self.accepted_at, self.takes_effect_at, now)
        meta.actor = self.actor
        if not contract_only:
            meta.depends_on = self.depends_on
            meta.cancelled = self.cancel_requested_at is not None
            meta.seen = seen
        expected = self.amended_version if self.amended else self.expected_version
        if expected is not None:
            meta.expected_version = expected
        # Also when it is done: a database that was restored has not done it.
        if self.operation:
            meta.operation.kind = _OPERATIONS[self.operation]
            meta.operation.notice = self.operation_notice or 0
            meta.operation.actor = self.operation_by


@lru_cache(64)
def _waited_ms(accepted_at: datetime, takes_effect_at: datetime, now: datetime) -> int:
    # Whatever the clock did since, the wait is 0 to the delay.
    # Cached, since what was accepted together is mostly sent together.
    delay = takes_effect_at - accepted_at
    waited = max(min(now - accepted_at, delay), delay * 0)
    return int(waited.total_seconds() * 1000)
