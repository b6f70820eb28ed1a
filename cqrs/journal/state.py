"""What came of a command, for Python: in the words of GraphQL's `command`.

accepted = add_contact("Ada")
state = wait_for(accepted.command_id, 10)
if state.state == "APPLIED": ...
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from cqrs.journal import rows
from cqrs.journal.accepted import its_id
from cqrs.journal.errors import JournalUnavailable, UnknownCommand
from cqrs.journal.settlement import State
from cqrs.transport.backoff import describe

# Seconds between two looks of who waits: growing from the first to the most.
FIRST_PAUSE = 0.005
MOST_PAUSE = 0.25


class CommandState(NamedTuple):
    """A command as the journal knows it. Times are UTC. The id is there under its aggregate's name too.

    kind: of its aggregate ("ADD"). state: QUEUED, PARKED, or an end: APPLIED, REJECTED, CANCELLED, DISCARDED,
    HANDED_OVER. message: what happened, or why not; empty as long as it is queued. reason: of REJECTED, NOT_FOUND,
    CONFLICT or INVALID. version: of the aggregate, once applied; of a CONFLICT, the one it has.
    """

    id: str
    aggregate: str
    kind: str
    aggregate_id: str
    state: str
    message: str
    reason: str | None
    actor: str | None
    accepted_at: datetime
    takes_effect_at: datetime
    settled_at: datetime | None
    version: int | None

    @property
    def command_id(self) -> str:
        return self.id


if not TYPE_CHECKING:  # so that the type checker goes on finding misspelt names
    CommandState.__getattr__ = its_id


def command_state(command_id: str) -> CommandState:
    """What is known of the command now. Raises UnknownCommand, JournalUnavailable."""
    try:
        row = rows.find(command_id)
    except DatabaseError as error:
        raise JournalUnavailable(f"the journal cannot be read: {describe(error)}") from error
    if row is None:
        raise UnknownCommand(f"there is no command {command_id} in the journal")
    return CommandState(
        row.command_id,
        row.aggregate,
        row.verb.upper(),
        row.aggregate_id,
        str(row.state),
        row.message,
        str(row.reason) or None,
        row.actor or None,
        row.accepted_at,
        row.takes_effect_at,
        row.settled_at,
        row.version,
    )


def wait_for(command_id: str, timeout: float) -> CommandState:
    """Waits until the command has ended or is PARKED.

    Not for a transaction that has accepted the command itself: no gateway sees it before that commits.
    Raises TimeoutError after `timeout` seconds, UnknownCommand, JournalUnavailable.
    """
    for pause in _pauses(command_id, timeout):
        if (state := command_state(command_id)).state != State.QUEUED:
            return state
        time.sleep(pause)
    raise AssertionError  # the pauses end by TimeoutError


acommand_state = sync_to_async(command_state)


async def await_for(command_id: str, timeout: float) -> CommandState:
    """As `wait_for`, which waits with no thread between two looks."""
    for pause in _pauses(command_id, timeout):
        if (state := await acommand_state(command_id)).state != State.QUEUED:
            return state
        await asyncio.sleep(pause)
    raise AssertionError  # the pauses end by TimeoutError


def _pauses(command_id: str, timeout: float) -> Iterator[float]:
    """The seconds to wait after each look; the last look is when the time is over."""
    deadline, pause = time.monotonic() + timeout, FIRST_PAUSE
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, MOST_PAUSE)
    yield 0.0
    raise TimeoutError(f"command {command_id} is still queued after {timeout:g} s")
