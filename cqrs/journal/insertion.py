"""One transaction's commands: known ones get the answer they got then, the others are chained and written."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows
from cqrs.journal.accepted import Accepted
from cqrs.journal.clock import Clock
from cqrs.journal.errors import JournalFull, KeyConflict
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record, command_of
from cqrs.journal.settlement import State
from protocol.cqrs_command_pb2 import Command


class _Known(NamedTuple):
    """A command that the journal has, or takes in this transaction, as it was accepted."""

    command: Command
    accepted: Accepted


class Insertion:
    """Takes the commands of one transaction, then writes them.

    delay: seconds from acceptance to effect. owner: the gateway process that sends them; empty: none yet.
    room: how many may be taken. last_of: the last unsettled command of an aggregate and id, before this transaction.
    """

    def __init__(
        self,
        cursor: CursorWrapper,
        clock: Clock,
        delay: float,
        owner: str,
        room: int,
        last_of: Callable[[str, str], str],
    ) -> None:
        self._cursor = cursor
        self._owner = owner
        self._room = room
        self._last_of = last_of
        self.accepted_at = clock.now()
        self.accepted_on = clock.monotonic()
        self.takes_effect_at = self.accepted_at + timedelta(seconds=delay)
        self._known: dict[str, _Known] = {}
        self._taken: list[_Known] = []
        self._last: dict[tuple[str, str], str] = {}

    def look_up(self, command_ids: Iterable[str]) -> None:
        """Finds out which of these commands the journal has."""
        for ids in rows.chunks(list(command_ids)):
            marks = ", ".join(["%s"] * len(ids))
            # Nearly always there is none, and building this query with the ORM would cost half of the commit.
            self._cursor.execute(f"SELECT command_id FROM {rows.TABLE} WHERE command_id IN ({marks})", ids)
            if known := [command_id for (command_id,) in self._cursor.fetchall()]:
                found = Row.objects.using(rows.database()).filter(command_id__in=known)
                self._known.update((row.command_id, _known(row)) for row in found)

    def take(self, commands: Sequence[Command]) -> list[Accepted]:
        """Takes all of the commands or, raising KeyConflict or JournalFull, none.

        Commands that are known (looked up, or taken before) get the answer they got then. The messages of the others
        belong to the journal from here on: they are sent as they are.
        """
        new: dict[str, _Known] = {}
        last: dict[tuple[str, str], str] = {}
        answers = []
        for command in commands:
            meta = command.meta
            command_id = meta.command_id
            known = self._known.get(command_id) or new.get(command_id)
            if known is None:
                aggregate, _, _ = command.kind.partition(".")
                key = (aggregate, command.aggregate_id)
                meta.depends_on = last.get(key) or self._last.get(key) or self._last_of(*key)
                last[key] = command_id
                accepted = Accepted(command_id, *key, self.accepted_at, self.takes_effect_at)
                new[command_id] = known = _Known(command, accepted)
            elif _arguments(known.command) != _arguments(command):
                raise KeyConflict(f"command id {command_id} was used before with other arguments")
            answers.append(known.accepted)
        if new and len(self._taken) + len(new) > self._room:
            raise JournalFull("too many commands are unsettled: try again later")
        self._known.update(new)
        self._taken.extend(new.values())
        self._last.update(last)
        return answers

    def write(self) -> list[Record]:
        """Inserts what was taken, in order, and returns it with its numbers."""
        if not self._taken:
            return []
        adapt = connections[rows.database()].ops.adapt_datetimefield_value
        accepted_at, takes_effect_at = adapt(self.accepted_at), adapt(self.takes_effect_at)
        # Measured beside one INSERT of many rows, in an idle and in a busy process: no slower, and simpler.
        self._cursor.executemany(
            f"INSERT INTO {rows.TABLE} (command_id, aggregate, verb, aggregate_id, body, expected_version, actor,"
            " depends_on, accepted_at, takes_effect_at, owner, state, message, reason, cancel_requested_by)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '{State.QUEUED}', '', '', '')",
            [(*_values(known.command), accepted_at, takes_effect_at, self._owner) for known in self._taken],
        )
        # The lock is held, so these have the last numbers, in order.
        first = rows.highest_number(self._cursor) - len(self._taken) + 1
        return [
            Record(number, known.command, self.accepted_at, self.takes_effect_at, self._owner)
            for number, known in enumerate(self._taken, first)
        ]


def _values(command: Command) -> tuple[Any, ...]:
    """A row's columns up to `depends_on`."""
    meta = command.meta
    aggregate, _, verb = command.kind.partition(".")
    expected = meta.expected_version if meta.HasField("expected_version") else None
    return (
        meta.command_id,
        aggregate,
        verb,
        command.aggregate_id,
        command.body,
        expected,
        meta.actor,
        meta.depends_on,
    )


def _known(row: Row) -> _Known:
    # As it was accepted, not as an operator amended it: the key stays good.
    command = command_of(row.command_id, row.kind, row.aggregate_id, bytes(row.body))
    if row.expected_version is not None:
        command.meta.expected_version = row.expected_version
    accepted = Accepted(row.command_id, row.aggregate, row.aggregate_id, row.accepted_at, row.takes_effect_at)
    return _Known(command, accepted)


def _arguments(command: Command) -> tuple[object, ...]:
    """All that makes a command the same as another; bodies are serialised deterministically. The actor is no part."""
    meta = command.meta
    expected = meta.expected_version if meta.HasField("expected_version") else None
    return command.kind, command.aggregate_id, command.body, expected
