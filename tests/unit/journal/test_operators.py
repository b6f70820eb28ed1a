"""What operators decide about parked commands: journaled, sent with the command, and done by the database."""

import pytest

from contacts_write import (
    aadd_contact,
    add_contact,
    adiscard_command,
    amend_command,
    discard_command,
    retry_command,
    update_contact,
)
from cqrs.journal.clock import now
from cqrs.journal.errors import InvalidCommand, NotOperable
from cqrs.journal.models import Command
from cqrs.journal.record import records
from cqrs.store.models import ParkedCommand
from cqrssite.testing import commands_take_effect_at_once
from database_service.models import Contact
from protocol.contact_pb2 import Contact as ContactMessage
from protocol.cqrs_command_pb2 import Command as Message
from tests.support import envelopes as commands

pytestmark = pytest.mark.django_db(databases=["default", "contacts"], transaction=True)


def parked(command_id: str) -> tuple[Message, int]:
    """The command as it is parked, and the number of its notice."""
    row = ParkedCommand.objects.get(pk=command_id)
    return Message.FromString(bytes(row.payload)), row.notice


def sent(command_id: str) -> Message:
    (record,) = records(Command.objects.filter(command_id=command_id))
    return record.command


def test_a_decision_is_written_on_the_commands_row_and_sent_with_it() -> None:
    accepted = add_contact("Ada")
    assert retry_command(sent(accepted.command_id), 5, actor="grace") == accepted
    row = Command.objects.get()
    assert (row.operation, row.operation_notice, row.operation_by, row.operation_open) == ("RETRY", 5, "grace", True)
    operation = sent(accepted.command_id).meta.operation
    assert (operation.kind, operation.notice, operation.actor) == (1, 5, "grace")


def test_decided_twice_alike_is_once_and_otherwise_waits_for_what_comes_of_the_first() -> None:
    accepted = add_contact("Ada")
    command = sent(accepted.command_id)
    amend_command(command, 5, name="Eve", actor="grace")
    first = Command.objects.get().operation_at
    assert amend_command(command, 5, name="Eve", actor="alan") == accepted
    for decide in (
        lambda: retry_command(command, 5),
        lambda: discard_command(command, 5),
        lambda: amend_command(command, 5, name="Bob"),
    ):
        with pytest.raises(NotOperable, match=f"to amend command {accepted.command_id}, as grace decided"):
            decide()
    assert (Command.objects.get().operation_at, Command.objects.get().operation_by) == (first, "grace")
    discard_command(command, 6, actor="alan")
    row = Command.objects.get()
    assert (row.operation, row.operation_notice, row.operation_by, row.operation_open) == ("DISCARD", 6, "alan", True)


def test_of_what_has_ended_nothing_is_decided() -> None:
    accepted = add_contact("Ada")
    command = sent(accepted.command_id)
    Command.objects.update(state="REJECTED", settled_at="2025-01-01T00:00:00Z")
    with pytest.raises(NotOperable, match=f"command {accepted.command_id} is rejected already"):
        retry_command(command, 5)
    assert Command.objects.get().operation == ""


def test_what_was_handed_over_and_is_parked_is_unsettled_again() -> None:
    accepted = add_contact("Ada")
    command = sent(accepted.command_id)
    Command.objects.update(state="HANDED_OVER", settled_at="2025-01-01T00:00:00Z")
    retry_command(command, 5)
    row = Command.objects.get()
    assert (row.state, row.settled_at, row.operation_open) == ("PARKED", None, True)


def test_an_amendment_is_sent_and_what_was_asked_first_stays_on_record() -> None:
    accepted = update_contact("c1", "Ada", expected_version=3, command_id="key")
    amend_command(sent("key"), 5, name=" Grace ", expected_version=4)
    assert (commands.name_of(sent("key").body), sent("key").meta.expected_version) == ("Grace", 4)
    row = Command.objects.get()
    assert (ContactMessage.FromString(bytes(row.body)).name, row.expected_version) == ("Ada", 3)
    assert update_contact("c1", "Ada", expected_version=3, command_id="key") == accepted, "the key stays good"
    amend_command(sent("key"), 6, name="Grace")
    assert not sent("key").meta.HasField("expected_version")


@pytest.mark.parametrize(
    ("command", "amendment", "why"),
    [
        (commands.add(), {}, "name must not be empty"),
        (commands.add(), {"name": "Ada", "expected_version": 1}, "an add expects no version"),
        (commands.update("c1"), {"name": "Ada", "expected_version": 0}, "expected version must be 1"),
        (commands.delete("c1"), {"name": "Ada"}, "a delete has no name"),
        (commands.delete("c1"), {"actor": "a\tb"}, "actor must not contain control characters"),
    ],
)
def test_an_amendment_that_is_none_is_refused(command: Message, amendment: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidCommand, match=why):
        amend_command(command, 5, **amendment)  # type: ignore[arg-type]
    assert not Command.objects.exists()


def test_a_parked_command_of_a_foreign_client_is_adopted_as_it_is() -> None:
    command = commands.delete("c1", actor="stranger", depends_on="before", expected_version=2)
    accepted = discard_command(command, 5, actor="grace")
    row = Command.objects.get()
    assert (row.kind, row.aggregate_id, row.expected_version, row.actor) == ("contact.delete", "c1", 2, "stranger")
    assert (row.depends_on, row.state, row.settled_at, row.owner) == ("before", "PARKED", None, "")
    assert accepted.command_id == commands.id_of(command)
    assert row.takes_effect_at <= now(), "it does not wait once more"


def test_journal_and_database_agree_on_a_retry_an_amendment_and_a_discard(defects: set[str]) -> None:
    with commands_take_effect_at_once():
        defects |= {"one", "two"}
        first = add_contact("Ada", command_id="one")
        assert Command.objects.get().state == "PARKED"
        retry_command(*parked("one"), actor="grace")
        row = Command.objects.get()
        assert (row.state, row.operation_open) == ("PARKED", False)
        assert row.message == "Parked again: ZeroDivisionError: a planted defect (retried by grace)"
        defects.clear()
        amend_command(*parked("one"), name="Grace", actor="grace")
        row = Command.objects.get()
        assert (row.state, row.message) == ("APPLIED", "Contact added (amended by grace)")
        assert Contact.objects.get().name == "Grace"

        defects.add("two")
        update_contact(first.contact_id, "Bob", command_id="two")
        discard_command(*parked("two"), actor="alan")
        assert Command.objects.get(command_id="two").state == "DISCARDED"
        assert not ParkedCommand.objects.exists()
        assert Contact.objects.get().name == "Grace"


async def test_the_asynchronous_twins_do_the_same() -> None:
    await aadd_contact("Ada", command_id="one")
    await adiscard_command(commands.add(command_id="one"), 5)
    assert (await Command.objects.aget()).operation == "DISCARD"
