"""One transaction's commands: those that are known are answered, the others chained and written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections
from django.db.backends.utils import CursorWrapper

from cqrs.journal import rows
from cqrs.journal.commands import kind_of
from cqrs.journal.entry import Accepted, Entry
from cqrs.journal.errors import JournalFull, KeyConflict
from cqrs.journal.models import Command as Row
from cqrs.journal.settlement import State, now
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import CommandMeta


class Acceptance:
    """Takes the commands of one transaction, then writes them.

    delay: seconds from acceptance to effect. owner: the gateway process that sends them; empty: none yet.
    room: how many may be taken. last_of: the last unsettled command of a contact, before this transaction.
    """

    def __init__(
        self, cursor: CursorWrapper, delay: float, owner: str, room: int, last_of: Callable[[str], str]
    ) -> None:
        self._cursor = cursor
        self._owner = owner
        self._room = room
        self._last_of = last_of
        self.accepted_at = now()
        self.takes_effect_at = self.accepted_at + timedelta(seconds=delay)
        self._known: dict[str, Entry] = {}
        self._taken: list[Entry] = []
        self._last: dict[str, str] = {}

    def look_up(self, command_ids: Iterable[str]) -> None:
        """Finds out which of these commands the journal has."""
        for ids in rows.chunks(list(command_ids)):
            marks = ", ".join(["%s"] * len(ids))
            # Nearly always there is none, and building this query with the ORM would cost half of the commit.
            self._cursor.execute(f"SELECT command_id FROM {rows.TABLE} WHERE command_id IN ({marks})", ids)
            if known := [command_id for (command_id,) in self._cursor.fetchall()]:
                found = rows.entries(Row.objects.using(rows.database()).filter(command_id__in=known))
                self._known.update((entry.command_id, entry) for entry in found)

    def take(self, commands: Sequence[Command]) -> list[Accepted]:
        """Takes all of the commands or, raising KeyConflict or JournalFull, none.

        Those that are known (looked up, or taken before) get the answer they got then.
        """
        new: dict[str, Entry] = {}
        last: dict[str, str] = {}
        entries = []
        for command in commands:
            entry = self._entry(command, last)
            known = self._known.get(entry.command_id) or new.get(entry.command_id)
            if known is None:
                new[entry.command_id] = known = entry
                last[entry.contact_id] = entry.command_id
            else:
                _check_same(known, entry)
            entries.append(known)
        if new and len(self._taken) + len(new) > self._room:
            raise JournalFull("too many commands are unsettled: try again later")
        self._known.update(new)
        self._taken.extend(new.values())
        self._last.update(last)
        return [entry.accepted() for entry in entries]

    def write(self) -> list[Entry]:
        """Inserts what was taken, in order, and returns it with its numbers."""
        if not self._taken:
            return []
        adapt = connections[rows.database()].ops.adapt_datetimefield_value
        accepted_at, takes_effect_at = adapt(self.accepted_at), adapt(self.takes_effect_at)
        # Measured beside one INSERT of many rows, in an idle and in a busy process: no slower, and simpler.
        self._cursor.executemany(
            f"INSERT INTO {rows.TABLE} (command_id, kind, contact_id, name, expected_version, actor, depends_on,"
            " accepted_at, takes_effect_at, owner, state, message, reason, cancel_requested_by)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, '{State.QUEUED}', '', '', '')",
            [(*entry[1:8], accepted_at, takes_effect_at, self._owner) for entry in self._taken],
        )
        # Nobody else inserts meanwhile, so these have the last numbers, in order.
        last = rows.highest_number(self._cursor)
        first = last - len(self._taken) + 1
        return [entry.numbered(number) for number, entry in enumerate(self._taken, first)]

    def _entry(self, command: Command, last: Mapping[str, str]) -> Entry:
        """The command's row, without its number, behind the last command of its contact: in `last`, or before that."""
        kind = kind_of(command)
        body: Any = getattr(command, kind.lower())
        meta: CommandMeta = body.meta
        contact_id: str = body.id
        return Entry(
            0,
            meta.command_id,
            kind,
            contact_id,
            "" if kind == Row.Kind.DELETE else body.name,
            meta.expected_version if meta.HasField("expected_version") else None,
            meta.actor,
            last.get(contact_id) or self._last.get(contact_id) or self._last_of(contact_id),
            self.accepted_at,
            self.takes_effect_at,
            self._owner,
            State.QUEUED,
            None,
            None,
        )


def _check_same(known: Entry, asked: Entry) -> None:
    """Raises KeyConflict unless both have the same arguments. Who sends it makes no difference."""
    differences = [
        f"{what} was {was!r} and is now {is_now!r}"
        for what, was, is_now in (
            ("kind", known.kind, asked.kind),
            ("id", known.contact_id, asked.contact_id),
            ("name", known.name, asked.name),
            ("expected version", known.expected_version, asked.expected_version),
        )
        if was != is_now
    ]
    if differences:
        raise KeyConflict(
            f"command id {asked.command_id} was used before with other arguments: {', '.join(differences)}"
        )
