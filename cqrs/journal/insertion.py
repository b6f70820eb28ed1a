"""One transaction's commands: known ones get the answer they got then, the others are written."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from cqrs.engines import engine_of
from cqrs.journal import rows
from cqrs.journal.accepted import Accepted
from cqrs.journal.clock import Clock
from cqrs.journal.errors import JournalFull, KeyConflict
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record, command_of, expected_version
from cqrs.journal.settlement import State
from protocol.cqrs_command_pb2 import Command

_COLUMNS = (
    "number, command_id, aggregate, verb, aggregate_id, body, expected_version, actor, depends_on,"
    " accepted_at, takes_effect_at, owner, state, message, reason, cancel_requested_by"
)


class _Known(NamedTuple):
    """A command that the journal has, or takes in this transaction, as it was accepted."""

    command: Command
    accepted: Accepted


class Insertion:
    """Takes the commands of one transaction, then writes them: a gateway's and those of the Python API alike.

    delay: seconds from acceptance to effect. room: how many may be taken.
    """

    def __init__(self, cursor: CursorWrapper, clock: Clock, delay: float, room: int) -> None:
        self._cursor = cursor
        self._room = room
        self.accepted_at = clock.now()
        self.accepted_on = clock.monotonic()
        self.takes_effect_at = self.accepted_at + timedelta(seconds=delay)
        self._known: dict[str, _Known] = {}
        self._taken: list[Command] = []

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
        answers = []
        for command in commands:
            command_id = command.meta.command_id
            known = self._known.get(command_id) or new.get(command_id)
            if known is None:
                aggregate, _, _ = command.kind.partition(".")
                accepted = Accepted(command_id, aggregate, command.aggregate_id, self.accepted_at, self.takes_effect_at)
                new[command_id] = known = _Known(command, accepted)
            elif _arguments(known.command) != _arguments(command):
                raise KeyConflict(f"command id {command_id} was used before with other arguments")
            answers.append(known.accepted)
        if new and len(self._taken) + len(new) > self._room:
            raise JournalFull("too many commands are unsettled: try again later")
        self._known.update(new)
        self._taken.extend(each.command for each in new.values())
        return answers

    def write(self, owner: str, numbers: Callable[[Sequence[Command]], Iterable[int]]) -> list[Record]:
        """Inserts what was taken, in order, and returns it.

        owner: the gateway process that sends it; empty: none yet. numbers: of the rows of these commands.
        """
        if not self._taken:
            return []
        engine = engine_of(rows.database())
        adapt = engine.connection.ops.adapt_datetimefield_value
        moments = adapt(self.accepted_at), adapt(self.takes_effect_at)
        numbered = list(zip(numbers(self._taken), self._taken, strict=True))
        values = [
            (number, *_values(command), *moments, owner, State.QUEUED, "", "", "") for number, command in numbered
        ]
        engine.insert(self._cursor, rows.TABLE, _COLUMNS, values)
        return [Record(number, command, self.accepted_at, self.takes_effect_at, owner) for number, command in numbered]


def _values(command: Command) -> tuple[Any, ...]:
    """A row's columns from `command_id` to `depends_on`."""
    meta = command.meta
    aggregate, _, verb = command.kind.partition(".")
    return (
        meta.command_id,
        aggregate,
        verb,
        command.aggregate_id,
        command.body,
        expected_version(command),
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
    return command.kind, command.aggregate_id, command.body, expected_version(command)
