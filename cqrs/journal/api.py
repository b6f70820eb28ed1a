"""Commands from Python: the same path as a mutation's, for views, tasks and shells of any process with Django set up.

A call returns once the command is in the journal, by the calling thread's database connection; a running gateway sends
it within a quarter of a second, and the delay counts from the call. Inside `transaction.atomic()` it is part of that
transaction: it is accepted if that commits, and never happened if that rolls back. No one waits for that transaction:
commands take effect in the order in which gateways find them committed, those of one transaction in the order of their
calls. (But on SQLite any transaction that has written keeps all others from writing until it ends; and on PostgreSQL
whoever brings an idempotency key that an open transaction has used waits for that one.)

The setting CQRS says how: {"DELAY": seconds from acceptance to effect, "JOURNAL_LIMIT": commands that may be
unsettled}, the same as the gateways have.

Each function has a twin for asynchronous code, named with an `a` in front. `cqrs.journal.state` tells what came of it.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.db import DatabaseError, IntegrityError, transaction

from cqrs import conf
from cqrs.aggregate import Verb, verb_of
from cqrs.journal import commands, operator_actions, rows
from cqrs.journal.accepted import Accepted
from cqrs.journal.clock import Clock
from cqrs.journal.errors import InvalidCommand, JournalUnavailable
from cqrs.journal.insertion import Insertion
from cqrs.journal.models import Command as Row
from cqrs.journal.room import Room
from cqrs.journal.settlement import settlement_of
from cqrs.transport.backoff import describe
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice

# Commands in one transaction of `submit_many`.
BLOCK = 200

T = TypeVar("T")

Effect = Callable[[Sequence[Command]], Sequence[Notice]]

# Set by `taking_effect`: for tests.
_effect: Effect | None = None

_room = Room()


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
    command = commands.build(
        _verb(kind),
        arguments,
        aggregate_id=aggregate_id,
        expected_version=expected_version,
        command_id=command_id,
        actor=actor,
    )
    (accepted,) = accept([command], fresh=command_id is None)
    return accepted


def submit_many(
    kind: str,
    arguments: Iterable[Mapping[str, object]],
    *,
    actor: str = "",
    command_ids: Iterable[str] | None = None,
) -> Iterator[Accepted]:
    """Accepts commands of one kind, in order, as its answers are iterated: without that, none.

    Each block of BLOCK is a transaction, read and accepted when its first answer is asked for: so neither arguments nor
    answers have to end. Inside `transaction.atomic()` all are accepted or none. command_ids: an idempotency key for
    each; with them a run that was broken off can be run again.
    Raises as `submit`, and then what came before the block is accepted; ValueError for fewer keys than arguments.
    """
    verb = _verb(kind)
    keys = itertools.repeat(None) if command_ids is None else command_ids
    # Strict where both end.
    pairs = zip(arguments, keys, strict=command_ids is not None)
    while block := list(itertools.islice(pairs, BLOCK)):
        made = [commands.build(verb, each, command_id=key, actor=actor) for each, key in block]
        yield from accept(made, fresh=command_ids is None)


def accept(made: Sequence[Command], *, fresh: bool = False) -> list[Accepted]:
    """Accepts all of the commands or none. fresh: their ids were minted for this call, so none can be known.

    Raises KeyConflict, JournalFull, JournalUnavailable.
    """
    return _twice(lambda: _accept(made, fresh), lambda: _accept(made, fresh=False))


def _accept(made: Sequence[Command], fresh: bool) -> list[Accepted]:
    settings = conf.current()
    with rows.joining() as cursor:
        insertion = Insertion(cursor, Clock(), settings.delay, _room.left(settings.journal_limit, len(made)))
        if not fresh:
            insertion.look_up(command.meta.command_id for command in made)
        answers = insertion.take(made)
        records = insertion.write("", lambda taken: rows.draw(cursor, len(taken)))
        _room.take(len(records))
        _take_effect([record.command for record in records])
    return answers


def cancel_command(command_id: str, *, actor: str = "") -> Accepted:
    """Requests that a command be voided before it takes effect; the database decides which comes first.

    Where a part of the system knows only the contract, the request reaches nobody, and the command takes effect.
    Raises UnknownCommand, NotCancellable (it has ended), JournalUnavailable.
    """
    with _errors(), rows.joining():
        record = rows.cancel(command_id, actor)
        _take_effect([record.command])
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
    with _errors(), transaction.atomic(using=rows.database()):
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


def _verb(kind: str) -> Verb:
    if (verb := verb_of(kind)) is None:
        raise InvalidCommand(f"there is no command {kind!r}")
    return verb


def _operate(operation: str, parked: Command, notice: int, actor: str, amended: Command | None = None) -> Accepted:
    actor, delay = commands.checked_actor(actor), conf.current().delay

    def operate() -> Accepted:
        with rows.joining() as cursor:
            record = operator_actions.operate(
                cursor, operation, parked, notice, actor=actor, delay=delay, amended=amended
            )
            _take_effect([record.command])
            return record.accepted()

    return _twice(operate, operate)


def _twice(first: Callable[[], T], again: Callable[[], T]) -> T:
    """What `first` returns, or `again` where another transaction came first with one of its ids: it is known then."""
    with _errors():
        try:
            return first()
        except IntegrityError:
            return again()


def _take_effect(made: Sequence[Command]) -> None:
    if _effect is None or not made:
        return
    for command in made:
        # Queued before commands took effect at once: none of these may pass it.
        aggregate, _, _ = command.kind.partition(".")
        queued = set(rows.unsettled_of(aggregate, command.aggregate_id, 0)) - {each.meta.command_id for each in made}
        command.meta.depends_on = max(queued, default="")
    notices = _effect(made)
    ends = {notice.command_id: end for notice in notices if (end := settlement_of(notice)) is not None}
    with rows.joining() as cursor:
        rows.settle(cursor, ends)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise JournalUnavailable(f"the journal cannot be written: {describe(error)}") from error
