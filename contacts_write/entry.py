"""A journaled command as it is sent, and the answer to who sent it."""

from datetime import datetime
from typing import NamedTuple

from contacts_write.models import Command as Row
from protocol.contact_pb2 import CommandMeta, Contact, ContactReference, Operation
from protocol.contact_write_pb2 import Command

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

    def accepted(self) -> Accepted:
        return Accepted(self.command_id, self.contact_id, self.accepted_at, self.takes_effect_at)

    def message(self, now: datetime, *, seen: str = "", contract_only: bool = False) -> Command:
        """The command as a message sent at `now`.

        seen: the position of a notice; a database whose history lacks it leaves the command.
        contract_only: for parts that may know only the contract, and that are never sent it again: it waits for no
        other command and is not withdrawn, and goes to any database.
        """
        # Whatever the clock did since, the wait is 0 to the delay.
        delay = self.takes_effect_at - self.accepted_at
        waited = max(min(now - self.accepted_at, delay), delay * 0)
        meta = CommandMeta(
            command_id=self.command_id,
            depends_on="" if contract_only else self.depends_on,
            waited_ms=int(waited.total_seconds() * 1000),
            expected_version=self.amended_version if self.amended else self.expected_version,
            actor=self.actor,
            cancelled=self.cancelled and not contract_only,
            seen="" if contract_only else seen,
        )
        # Also when it is done: a database that was restored has not done it.
        if self.operation:
            meta.operation.kind = _OPERATIONS[self.operation]
            meta.operation.notice = self.operation_notice or 0
            meta.operation.actor = self.operation_by
        name = self.amended_name if self.amended else self.name
        match self.kind:
            case Row.Kind.ADD:
                return Command(add=Contact(id=self.contact_id, name=name, meta=meta))
            case Row.Kind.UPDATE:
                return Command(update=Contact(id=self.contact_id, name=name, meta=meta))
            case _:
                return Command(delete=ContactReference(id=self.contact_id, meta=meta))
