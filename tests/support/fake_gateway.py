"""What the schema needs of the gateway, in memory: journal, reader and feed, with no ring between them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cqrs.journal.accepted import Accepted
from cqrs.journal.errors import KeyConflict, NotCancellable, UnknownCommand
from cqrs.journal.settlement import State
from cqrs.query.errors import PositionUnknown, ReaderUnavailable
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice


@dataclass
class Row:
    """A row of the journal, with the columns that the schema shows."""

    command_id: str
    aggregate: str
    verb: str
    aggregate_id: str
    body: bytes
    expected_version: int | None
    actor: str
    accepted_at: datetime
    takes_effect_at: datetime
    state: str = State.QUEUED
    message: str = ""
    reason: str = ""
    version: int | None = None
    settled_at: datetime | None = None
    cancel_requested_by: str = ""


class Settings:
    """The part of the settings that the endpoints look at."""

    allowed_hosts = ["testserver", ".example.org"]
    allowed_origins = ["https://app.example.net", "https://*.friends.example"]
    delay = 3.0


def stamp(second: int = 0) -> Timestamp:
    """A moment of the last day of 2025."""
    return Timestamp(seconds=1_767_182_400 + second, nanos=5_000_000)


class FakeReader:
    """Answers from a dictionary; `away`: not at all."""

    def __init__(self) -> None:
        self.contacts: dict[str, Contact] = {}
        # States of other aggregates, by aggregate and id.
        self.others: dict[tuple[str, str], Message] = {}
        self.away = False
        self.timeouts: list[float | None] = []
        self.defect: Exception | None = None

    def add(self, contact_id: str, name: str = "John") -> Contact:
        self.contacts[contact_id] = Contact(id=contact_id, name=name, last_updated=stamp(), version=1)
        return self.contacts[contact_id]

    async def get(self, aggregate: str, aggregate_id: str, *, timeout: float | None = None) -> Message | None:
        self._answer(timeout)
        if aggregate == "contact":
            return self.contacts.get(aggregate_id)
        return self.others.get((aggregate, aggregate_id))

    async def first(self, aggregate: str, count: int, *, timeout: float | None = None) -> Sequence[Message]:
        self._answer(timeout)
        if aggregate == "contact":
            return list(self.contacts.values())[:count]
        return [state for (name, _), state in self.others.items() if name == aggregate][:count]

    def _answer(self, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        if self.defect:
            raise self.defect
        if self.away:
            raise ReaderUnavailable("the reader does not answer")


class FakeFeed:
    """Notices told by `tell`; positions are the numbers from 1 on."""

    def __init__(self) -> None:
        self.state = "live"
        self.notices: list[Notice] = []
        self.subscribers = 0
        self.ended = False
        self.failure: Exception | None = None
        self._changed = asyncio.Event()

    def tell(
        self,
        kind: "Notice.Kind",
        contact_id: str,
        command_id: str = "",
        *,
        contact: Contact | None = None,
        **fields: object,
    ) -> Notice:
        """Notifies of a command of a contact, or of the aggregate that `fields` name."""
        number = len(self.notices) + 1
        state = b"" if contact is None else contact.SerializeToString()
        notice = Notice(
            position=str(number),
            number=number,
            kind=kind,
            aggregate_id=contact_id,
            command_id=command_id,
            committed_at=stamp(number),
            **{"aggregate": "contact", "state": state} | fields,  # type: ignore[arg-type]
        )
        self.notices.append(notice)
        self._wake()
        return notice

    def end(self) -> None:
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self._wake()

    def subscribe(self, after: str | None = None) -> AsyncGenerator[Notice]:
        return self._follow(len(self.notices) if after is None else int(after))

    async def _follow(self, seen: int) -> AsyncGenerator[Notice]:
        if seen > len(self.notices):
            raise PositionUnknown("this position is of another history")
        self.subscribers += 1
        try:
            while not self.ended:
                changed = self._changed
                if self.failure:
                    raise self.failure
                if seen < len(self.notices):
                    yield self.notices[seen]
                    seen += 1
                else:
                    await changed.wait()
        finally:
            self.subscribers -= 1

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class FakeJournal:
    """Accepts into a dictionary; the tests settle."""

    def __init__(self, delay: float = 3.0) -> None:
        self.rows: dict[str, Row] = {}
        self.accepted: list[Command] = []
        self.defect: Exception | None = None
        self.waiting = 0
        self._delay = timedelta(seconds=delay)
        self._changed = asyncio.Event()

    async def accept(self, batch: Sequence[Command], *, fresh: bool = False) -> list[Accepted]:
        if self.defect:
            raise self.defect
        assert not fresh or not any(command.meta.command_id in self.rows for command in batch)
        return [self._accept(command) for command in batch]

    def _accept(self, command: Command) -> Accepted:
        meta = command.meta
        aggregate, _, verb = command.kind.partition(".")
        fields = {
            "aggregate": aggregate,
            "verb": verb,
            "aggregate_id": command.aggregate_id,
            "body": command.body,
            "expected_version": meta.expected_version if meta.HasField("expected_version") else None,
        }
        row = self.rows.get(meta.command_id)
        if row is None:
            self.accepted.append(command)
            now = datetime.now(UTC)
            times = {"accepted_at": now, "takes_effect_at": now + self._delay}
            row = self.rows[meta.command_id] = Row(meta.command_id, actor=meta.actor, **times, **fields)  # type: ignore[arg-type]
        elif any(getattr(row, field) != value for field, value in fields.items()):
            raise KeyConflict(f"command {meta.command_id} has other arguments")
        return _accepted(row)

    def end(self, command_id: str, state: str = State.APPLIED, **fields: object) -> None:
        row = self.rows[command_id]
        row.state = state
        row.settled_at = None if state == State.PARKED else datetime(2026, 1, 2, 3, 4, 5, 6000, UTC)
        for field, value in fields.items():
            setattr(row, field, value)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def is_pending(self, aggregate: str, aggregate_id: str) -> bool:
        about = aggregate, aggregate_id
        return any((row.aggregate, row.aggregate_id) == about and row.settled_at is None for row in self.rows.values())

    async def find(self, command_id: str) -> Row | None:
        return self.rows.get(command_id)

    async def settled(self, command_id: str, timeout: float) -> Row:
        async with asyncio.timeout(timeout):
            while True:
                changed = self._changed
                row = self.rows.get(command_id)
                if row is None:
                    raise UnknownCommand
                if row.state != State.QUEUED:
                    return row
                self.waiting += 1
                await changed.wait()
                self.waiting -= 1

    async def cancel(self, command_id: str, actor: str = "") -> Accepted:
        row = self.rows.get(command_id)
        if row is None:
            raise UnknownCommand
        if row.settled_at is not None:
            raise NotCancellable
        row.cancel_requested_by = actor
        return _accepted(row)


def _accepted(row: Row) -> Accepted:
    return Accepted(row.command_id, row.aggregate, row.aggregate_id, row.accepted_at, row.takes_effect_at)


def name_of(command: Command) -> str:
    """The name that a command gives a contact."""
    return Contact.FromString(command.body).name


class FakeGateway:
    """The gateway of a test."""

    def __init__(self) -> None:
        self.reader = FakeReader()
        self.feed = FakeFeed()
        self.journal = FakeJournal()
        self.foreign_writer = False
