"""Commands from Python: the same path as a mutation's, for views, tasks and shells of any process with Django set up.

A call returns once the command is in the journal, by the calling thread's database connection; a running gateway sends
it within a quarter of a second, and the delay counts from the call. Inside `transaction.atomic()` it is part of that
transaction: it is accepted if that commits, and never happened if that rolls back.

The setting CQRS says how: {"DELAY": seconds from acceptance to effect, "JOURNAL_LIMIT": commands that may be
unsettled}, the same as the gateways have.

Each function has a twin for asynchronous code, named with an `a` in front.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from cqrs import conf
from cqrs.aggregate import verb_of
from cqrs.journal import commands, operator_actions, rows
from cqrs.journal.accepted import Accepted
from cqrs.journal.clock import Clock
from cqrs.journal.errors import InvalidCommand, JournalUnavailable
from cqrs.journal.insertion import Insertion
from cqrs.journal.models import Command as Row
from cqrs.journal.record import Record
from cqrs.journal.settlement import settlement_of
from cqrs.transport.backoff import describe
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice

Effect = Callable[[Sequence[Command]], Sequence[Notice]]

# Set by `taking_effect`: for tests.
_effect: Effect | None = None


def submit(
    kind: str,
    aggregate_id: str | None = None,
    /,
    *,
    expected_version: int | None = None,
    command_id: str | None = None,
    actor: str = "",
    **arguments: object,
) -> Accepted:
    """Accepts a command, for example submit("contact.add", name="Ada"); the answer has the aggregate's id.

    aggregate_id: of the aggregate to be changed; that it exists, or in that version, turns out when the command takes
    effect. command_id: an idempotency key of your own: the same key and arguments take effect once and get the same
    answer. actor: the username for the record.
    Raises InvalidCommand, KeyConflict (the key was used with other arguments), JournalFull, JournalUnavailable.
    """
    verb = verb_of(kind)
    if verb is None:
        raise InvalidCommand(f"there is no command {kind!r}")
    command = commands.build(
        verb,
        arguments,
        aggregate_id=aggregate_id,
        expected_version=expected_version,
        command_id=command_id,
        actor=actor,
    )
    with _errors(), rows.writing() as cursor:
        room = rows.room(conf.current().journal_limit)
        insertion = Insertion(cursor, Clock(), conf.current().delay, "", room, rows.last_unsettled)
        insertion.look_up([command.meta.command_id])
        (accepted,) = insertion.take([command])
        for record in insertion.write():
            _take_effect(record)
        return accepted


def cancel_command(command_id: str, *, actor: str = "") -> Accepted:
    """Requests that a command be voided before it takes effect; the database decides which comes first.

    Where a part of the system knows only the contract, the request reaches nobody, and the command takes effect.
    Raises UnknownCommand, NotCancellable (it has ended), JournalUnavailable.
    """
    with _errors(), rows.writing():
        record = rows.cancel(command_id, actor)
        _take_effect(record)
        return record.accepted()


def retry_command(parked: Command, notice: int, *, actor: str = "") -> Accepted:
    """Requests that a parked command be tried again at once, as it is parked, and its attempts be counted anew.

    parked: the command as the database service keeps it. notice: the number of the newest notice of its parking: if it
    is not the newest any more when this arrives, because another operator decided first, nothing happens.
    A notice tells what came of it. Raises InvalidCommand, NotOperable (it has ended, or another operator's decision
    about it is on its way), JournalUnavailable.
    """
    return _operate(Row.Operation.RETRY, parked, notice, actor)


def amend_command(
    parked: Command,
    notice: int,
    /,
    *,
    expected_version: int | None = None,
    actor: str = "",
    **arguments: object,
) -> Accepted:
    """Requests that a parked command be tried again with these arguments instead; otherwise as `retry_command`."""
    amended = commands.amended(parked, arguments, expected_version)
    return _operate(Row.Operation.AMEND, parked, notice, actor, amended)


def discard_command(parked: Command, notice: int, *, actor: str = "") -> Accepted:
    """Requests that a parked command end without effect; otherwise as `retry_command`."""
    return _operate(Row.Operation.DISCARD, parked, notice, actor)


asubmit = sync_to_async(submit)
acancel_command = sync_to_async(cancel_command)
aretry_command = sync_to_async(retry_command)
aamend_command = sync_to_async(amend_command)
adiscard_command = sync_to_async(discard_command)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within the context whatever is accepted is journaled in one transaction: all of it or, if that fails, none.

    Raises JournalUnavailable.
    """
    with _errors(), rows.writing():
        yield


@contextlib.contextmanager
def taking_effect(effect: Effect) -> Iterator[None]:
    """Eager mode: `effect` applies each command within the context before its call returns, and returns its notices."""
    global _effect
    before, _effect = _effect, effect
    try:
        yield
    finally:
        _effect = before


def _operate(operation: str, parked: Command, notice: int, actor: str, amended: Command | None = None) -> Accepted:
    with _errors(), rows.writing():
        actor = commands.checked_actor(actor)
        delay = conf.current().delay
        record = operator_actions.operate(operation, parked, notice, actor=actor, delay=delay, amended=amended)
        _take_effect(record)
        return record.accepted()


def _take_effect(record: Record) -> None:
    if _effect is None:
        return
    notices = _effect([record.command])
    ends = {notice.command_id: end for notice in notices if (end := settlement_of(notice)) is not None}
    with rows.writing() as cursor:
        rows.settle(cursor, ends)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise JournalUnavailable(f"the journal cannot be written: {describe(error)}") from error
