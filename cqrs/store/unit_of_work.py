"""One unit of work within a transaction: which commands go, wait or are parked, and the rows that come of them."""

import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper

from cqrs.aggregate import Stored, registry
from cqrs.engines import Violation
from cqrs.store import dead_letters, rows
from cqrs.store.decide import WRITTEN, Outcome, decide, voided
from cqrs.store.incoming import IncomingCommand, as_parked, kept, operated
from cqrs.store.messages import NoticeRow, notice_of, timestamp
from cqrs.store.models import MAX_MESSAGE_TEXT, MAX_SUMMARY
from protocol.cqrs_command_pb2 import Operation
from protocol.cqrs_notice_pb2 import Notice

log = logging.getLogger("cqrs.store.apply")

_REASONS = {"CONFLICT": Notice.CONFLICT, "INVALID": Notice.INVALID}


class Applied(NamedTuple):
    """A notice of each command that was recorded, and the ids of the deferred commands, which are to be sent again."""

    notices: list[Notice]
    deferred: list[str]


class UnitOfWork:
    """Takes commands, decides on each that has its turn, then writes all effects and notices.

    cursor: within the transaction. now: when it is committed, in milliseconds. refused: commands by id whose rows the
    database refused: with the constraint that they violate they are rejected, with any other error parked.
    """

    def __init__(self, cursor: CursorWrapper, now: int, refused: Mapping[str, Exception | Violation]) -> None:
        self._cursor = cursor
        self._now = now
        self._timestamp = timestamp(now)
        self._refused = refused
        # First, since it may lock: rows that are read from here on stay as they are until the commit.
        self._database = rows.identity(cursor, lock=True)
        self._number = rows.last_number(cursor)
        self._settled: dict[str, str] = {}
        self._parked: dict[str, rows.Parked] = {}
        # By aggregate, then by id.
        self._stored: defaultdict[str, dict[str, Stored]] = defaultdict(dict)
        self._changed: defaultdict[str, dict[str, Stored | None]] = defaultdict(dict)
        self._waiting: defaultdict[str, list[IncomingCommand]] = defaultdict(list)
        # Positions of another history, and the ids of commands deferred since their senders have seen one of these.
        self._foreign_positions: set[str] = set()
        self._of_another_history: list[str] = []
        self._notices: list[NoticeRow] = []
        self._parkings: list[dead_letters.Parking] = []
        self._unparked: list[str] = []

    def take(self, commands: Sequence[IncomingCommand]) -> None:
        """Decides on the commands in the given order, but on none before the one it depends on."""
        self._load(commands)
        queue = deque(commands)
        while queue:
            queue.extendleft(reversed(self._take(queue.popleft())))

    def write(self) -> Applied:
        """Writes effects and notices."""
        for aggregate, changed in self._changed.items():
            if changed:
                registry()[aggregate].store.save(self._cursor, self._stored[aggregate], changed)
        rows.insert_notices(self._cursor, self._notices)
        # In this order, since a command may have been parked and voided in this very unit of work.
        dead_letters.write(self._parkings, self._now)
        dead_letters.release(self._unparked, self._now)
        return Applied([notice_of(self._database, row) for row in self._notices], self._deferred())

    def _deferred(self) -> list[str]:
        waiting = (each.command_id for commands in self._waiting.values() for each in commands)
        deferred = dict.fromkeys((*self._of_another_history, *waiting))
        return [command_id for command_id in deferred if command_id not in self._settled]

    def _load(self, commands: Sequence[IncomingCommand]) -> None:
        """Reads what is known of the commands, of their predecessors, and of the aggregates."""
        asked: set[str] = set()
        wanted = {command_id for each in commands for command_id in (each.command_id, each.depends_on) if command_id}
        while wanted:
            asked |= wanted
            found = rows.settled(self._cursor, list(wanted))
            self._settled |= found
            self._parked |= rows.parked(self._cursor, list(wanted - found.keys()))
            wanted = {command_id for command_id in found.values() if command_id} - asked
        seen = {each.seen for each in commands if each.seen}
        self._foreign_positions = rows.of_another_history(self._cursor, self._database, self._number, seen)
        ids: defaultdict[str, set[str]] = defaultdict(set)
        for each in commands:
            if each.aggregate_id and each.command_id not in self._settled:
                ids[each.aggregate].add(each.aggregate_id)
        for aggregate, its_ids in ids.items():
            if declared := registry().get(aggregate):
                self._stored[aggregate] = declared.store.load(self._cursor, list(its_ids))

    def _take(self, incoming: IncomingCommand) -> Sequence[IncomingCommand]:
        """Decides on the command if it has its turn, and returns the commands that waited for it."""
        command_id = incoming.command_id
        if command_id in self._settled:
            return ()
        if incoming.seen in self._foreign_positions:
            # Applied here, it would overtake commands that this database lacks: these are to be redriven first.
            self._of_another_history.append(command_id)
            return ()
        if standing := self._parked.get(command_id):
            wanted = incoming if incoming.retried else as_parked(incoming, standing)
            if wanted is None:
                return ()
            incoming = wanted
        blocker = self._blocker(incoming.depends_on)
        if not blocker or incoming.is_voided:
            self._decide(incoming, blocker)
        elif blocker in self._parked:
            self._park(incoming, "waits behind a parked command", behind=blocker)
        else:
            self._waiting[blocker].append(incoming)
            return ()
        return self._waiting.pop(command_id, ())

    def _blocker(self, command_id: str) -> str:
        """The command that has to be settled before the successor of `command_id` has its turn; "": none."""
        passed = set()
        # A voided command was recorded out of turn: its successor waits for that command's own predecessor.
        while command_id and command_id not in passed:
            if command_id not in self._settled:
                return command_id
            passed.add(command_id)
            command_id = self._settled[command_id]
        return ""

    def _decide(self, incoming: IncomingCommand, blocker: str) -> None:
        refusal = self._refused.get(incoming.command_id)
        if isinstance(refusal, Exception):
            self._park(incoming, dead_letters.cause_of(refusal), error=refusal)
            return
        current = self._current(incoming)
        state = current.state if current else None
        try:
            # Apart from each other, since a command on which `decide` fails can be voided all the same.
            outcome = voided(incoming.command) if incoming.is_voided else None
            if outcome is None and isinstance(refusal, Violation):
                outcome = Outcome(Notice.REJECTED, state, refusal.message, _REASONS[refusal.reason])
            outcome = outcome or decide(state, incoming.command)
            summary = _summary(incoming.aggregate, outcome.state)
        except Exception as error:
            log.exception("command=%s fails, it is parked", incoming.command_id)
            self._park(incoming, dead_letters.cause_of(error), error=error)
        else:
            self._settle(incoming, current, outcome, summary, blocker if outcome.kind in rows.VOIDED else "")

    def _current(self, incoming: IncomingCommand) -> Stored | None:
        changed = self._changed[incoming.aggregate]
        if incoming.aggregate_id in changed:
            return changed[incoming.aggregate_id]
        return self._stored[incoming.aggregate].get(incoming.aggregate_id)

    def _settle(
        self, incoming: IncomingCommand, current: Stored | None, outcome: Outcome, summary: str, waits_for: str
    ) -> None:
        if outcome.state is not None and outcome.kind in WRITTEN:
            outcome.state.last_updated.CopyFrom(self._timestamp)
        self._notice(incoming, outcome, summary, waits_for or ("" if incoming.is_voided else incoming.depends_on))
        self._settled[incoming.command_id] = waits_for
        if incoming.command_id in self._parked:
            del self._parked[incoming.command_id]
            self._unparked.append(incoming.command_id)
        if outcome.kind == Notice.DELETED:
            self._changed[incoming.aggregate][incoming.aggregate_id] = None
        elif outcome.kind in WRITTEN:
            added_by = self._number if current is None else current.added_by
            self._changed[incoming.aggregate][incoming.aggregate_id] = Stored(outcome.state, added_by)

    def _notice(self, incoming: IncomingCommand, outcome: Outcome, summary: str, depends_on: str) -> None:
        state = outcome.state
        message = outcome.message
        if incoming.operation.kind != Operation.NONE:
            message += operated(incoming.operation)
        self._number += 1
        self._notices.append(
            NoticeRow(
                self._number,
                incoming.command_id,
                outcome.kind,
                incoming.aggregate,
                incoming.kind,
                incoming.aggregate_id,
                state.SerializeToString() if state is not None else b"",
                state.version if state is not None else 0,
                summary,
                message[:MAX_MESSAGE_TEXT].replace("\0", ""),
                outcome.reason,
                incoming.actor,
                depends_on,
                self._now,
            )
        )

    def _park(self, incoming: IncomingCommand, cause: str, *, error: Exception | None = None, behind: str = "") -> None:
        first = incoming.command_id not in self._parked
        payload = kept(incoming.command, behind)
        # An automatic retry that fails again writes no notice; an operator's retry that fails does.
        has_notice = first or incoming.operation.kind != Operation.NONE
        if has_notice:
            message = f"{'Parked' if first else 'Parked again'}: {cause}"
            self._notice(incoming, Outcome(Notice.PARKED, None, message), "", incoming.depends_on)
            self._parked[incoming.command_id] = rows.Parked(self._number, payload)
        self._parkings.append(
            dead_letters.Parking(
                command_id=incoming.command_id,
                aggregate=incoming.aggregate,
                aggregate_id=incoming.aggregate_id,
                payload=payload,
                cause=cause,
                error=error,
                behind=behind,
                notice=self._number if has_notice else 0,
                first=first,
            )
        )


def _summary(aggregate: str, state: Any | None) -> str:
    """The state in one line, as the aggregate declares it."""
    return "" if state is None else str(registry()[aggregate].summary(state))[:MAX_SUMMARY].replace("\0", "")
