'''Commands from Python: the same path as a mutation's, for views, tasks and shells of any process with Django set up.

A call returns once the command is in the journal, by the calling thread's database connection; a running gateway sends
it within a quarter of a second, and the delay counts from the call. Inside `transaction.atomic()` it is part of that
transaction: it is accepted if that commits, and never happened if that rolls back.

A view, and a test of it in which commands take effect at once, without any other process:

    def rename(request, contact_id):
        """Renames a contact."""
        accepted = update_contact(contact_id, request.POST["name"], actor=request.user.get_username())
        return JsonResponse({"command": accepted.command_id}, status=202)

    @pytest.mark.django_db(databases=["default", "contacts"])
    def test_a_contact_is_renamed(client):
        with commands_take_effect_at_once():  # from cqrssite.testing
            contact_id = add_contact("Ada").contact_id
            client.post(f"/contacts/{contact_id}/rename", {"name": "Ada Lovelace"})
        assert Contact.objects.get(id=contact_id).name == "Ada Lovelace"

Each function has a twin for asynchronous code, named with an `a` in front.
'''

import contextlib
from collections.abc import Callable, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError

from cqrs.journal import commands, operator_actions, rows
from cqrs.journal.acceptance import Acceptance
from cqrs.journal.entry import Accepted, Entry
from cqrs.journal.errors import JournalUnavailable
from cqrs.journal.models import Command as Row
from cqrs.journal.settlement import now, settlement_of
from cqrs.transport.backoff import describe
from protocol.contact_write_pb2 import Command
from protocol.notice_pb2 import Notice

Effect = Callable[[Sequence[Command]], Sequence[Notice]]

# Set by `taking_effect`: for tests.
_effect: Effect | None = None


def add_contact(name: str, *, command_id: str | None = None, actor: str = "") -> Accepted:
    """Accepts a command that adds a contact; the answer has the contact's id.

    command_id: an idempotency key of your own: the same key and arguments take effect once and get the same answer.
    actor: who asks, for the record.
    Raises InvalidCommand, KeyConflict (the key was used with other arguments), JournalFull, JournalUnavailable.
    """
    return _accept(commands.add(name, command_id=command_id, actor=actor))


def update_contact(
    contact_id: str, name: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> Accepted:
    """Accepts a command that renames a contact. That there is one, or in that version, turns out when it takes effect.

    Otherwise as `add_contact`.
    """
    return _accept(
        commands.update(contact_id, name, expected_version=expected_version, command_id=command_id, actor=actor)
    )


def delete_contact(
    contact_id: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> Accepted:
    """Accepts a command that deletes a contact; otherwise as `update_contact`."""
    return _accept(commands.delete(contact_id, expected_version=expected_version, command_id=command_id, actor=actor))


def cancel_command(command_id: str, *, actor: str = "") -> Accepted:
    """Asks that a command be withdrawn before it takes effect; the database decides which comes first.

    Where a part of the system knows only the contract, nobody hears of it, and the command takes effect.
    Raises UnknownCommand, NotCancellable (it has ended), JournalUnavailable.
    """
    with _errors(), rows.writing():
        entry = rows.cancel(command_id, actor)
        _take_effect(entry)
        return entry.accepted()


def retry_command(parked: Command, notice: int, *, actor: str = "") -> Accepted:
    """Asks that a parked command be tried again at once, as it is parked, and its attempts be counted anew.

    parked: the command as the database service keeps it. notice: the number of the newest notice of its parking: if it
    is not the newest any more when this arrives, because another decided first, nothing happens.
    What came of it a notice tells. Raises InvalidCommand, NotOperable (it has ended, or what another operator decided
    about it is on its way), JournalUnavailable.
    """
    return _operate(Row.Operation.RETRY, parked, notice, actor)


def amend_command(
    parked: Command, notice: int, *, name: str = "", expected_version: int | None = None, actor: str = ""
) -> Accepted:
    """Asks that a parked command be tried again with other arguments; otherwise as `retry_command`."""
    amended = commands.amended(parked, name=name, expected_version=expected_version)
    return _operate(Row.Operation.AMEND, parked, notice, actor, amended)


def discard_command(parked: Command, notice: int, *, actor: str = "") -> Accepted:
    """Asks that a parked command end without effect; otherwise as `retry_command`."""
    return _operate(Row.Operation.DISCARD, parked, notice, actor)


aadd_contact = sync_to_async(add_contact)
aupdate_contact = sync_to_async(update_contact)
adelete_contact = sync_to_async(delete_contact)
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
    """Within the context every command is applied by `effect`, which returns its notices, before its call returns."""
    global _effect
    before, _effect = _effect, effect
    try:
        yield
    finally:
        _effect = before


def _accept(command: Command) -> Accepted:
    contacts = settings.CONTACTS
    with _errors(), rows.writing() as cursor:
        room = rows.room(contacts.journal_limit)
        acceptance = Acceptance(cursor, contacts.delay, "", room, rows.last_unsettled)
        acceptance.look_up([commands.meta_of(command).command_id])
        (accepted,) = acceptance.take([command])
        for entry in acceptance.write():
            _take_effect(entry)
        return accepted


def _operate(kind: str, parked: Command, notice: int, actor: str, amended: Command | None = None) -> Accepted:
    with _errors(), rows.writing():
        actor = commands.checked_actor(actor)
        delay = settings.CONTACTS.delay
        entry = operator_actions.operate(kind, parked, notice, actor=actor, delay=delay, amended=amended)
        _take_effect(entry)
        return entry.accepted()


def _take_effect(entry: Entry) -> None:
    if _effect is None:
        return
    notices = _effect([entry.message(now())])
    ends = {notice.command_id: end for notice in notices if (end := settlement_of(notice)) is not None}
    with rows.writing() as cursor:
        rows.settle(cursor, ends)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise JournalUnavailable(f"the journal cannot be written: {describe(error)}") from error
