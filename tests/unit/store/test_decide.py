"""What a command does to a contact."""

import pytest

from cqrs.store.decide import decide
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from tests.support.envelopes import add, cancelled, contact_of, delete, update
from tests.support.envelopes import command as command_

ADA = Contact(id="ada", name="Ada", version=3)


def malformed(command: Command) -> Command:
    command.body = b"\x0a\xff"
    return command


def test_an_add_makes_version_one_with_the_name_trimmed():
    command = add("  Ada Lovelace ")
    outcome = decide(None, command)
    assert outcome.kind == Notice.ADDED
    assert outcome.state == Contact(id=contact_of(command), name="Ada Lovelace", version=1)


def test_an_add_of_an_id_that_exists_is_a_conflict():
    outcome = decide(ADA, add("Ada", aggregate_id="ada"))
    assert (outcome.kind, outcome.reason, outcome.state) == (Notice.REJECTED, Notice.CONFLICT, ADA)


def test_an_update_makes_the_next_version_and_leaves_the_contact_it_was_given_alone():
    outcome = decide(ADA, update("ada", "Grace"))
    assert outcome.kind == Notice.UPDATED
    assert outcome.state == Contact(id="ada", name="Grace", version=4)
    assert Contact(id="ada", name="Ada", version=3) == ADA


def test_a_delete_shows_the_last_state():
    assert decide(ADA, delete("ada"))[:2] == (Notice.DELETED, ADA)


@pytest.mark.parametrize("command", [update("bob"), delete("bob")])
def test_what_does_not_exist_is_not_found(command: Command):
    outcome = decide(None, command)
    assert (outcome.kind, outcome.reason) == (Notice.REJECTED, Notice.NOT_FOUND)
    assert outcome.message == "user with id bob not found"


@pytest.mark.parametrize("command", [update("ada", expected_version=2), delete("ada", expected_version=2)])
def test_a_stale_version_is_a_conflict_that_says_the_current_one(command: Command):
    outcome = decide(ADA, command)
    assert (outcome.kind, outcome.reason) == (Notice.REJECTED, Notice.CONFLICT)
    assert "at version 3" in outcome.message


@pytest.mark.parametrize("command", [update("ada", expected_version=3), delete("ada", expected_version=3)])
def test_the_right_version_is_no_conflict(command: Command):
    assert decide(ADA, command).kind in (Notice.UPDATED, Notice.DELETED)


def test_version_zero_is_a_version_that_no_contact_has():
    assert decide(ADA, update("ada", expected_version=0)).reason == Notice.CONFLICT


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (add("  "), "name must not be empty"),
        (add("x" * 201), "name must be at most 200 characters, not 201"),
        (update("ada", "a\x00b"), "name must not contain the control character U+0000"),
        (add(command_id="not an id"), "command id must be"),
        (add(aggregate_id="-"), "contact id must be"),
        (update(""), "contact id must not be empty"),
        (delete("x" * 101), "contact id must be"),
        (update("ada", depends_on="?"), "depends_on must be"),
        (command_(""), "the command has no kind"),
        (command_("contact.frob"), "no command is called contact.frob"),
        (command_("nobody.add"), "no command is called nobody.add"),
        (malformed(add()), "the body of contact.add is no protocol.Contact"),
    ],
)
def test_bad_input_is_invalid_and_says_why(command: Command, message: str):
    outcome = decide(ADA if command.kind == "contact.update" else None, command)
    assert (outcome.kind, outcome.reason) == (Notice.REJECTED, Notice.INVALID)
    assert outcome.message.startswith(message)


@pytest.mark.parametrize("command", [add(), add(" "), update("nobody"), delete("nobody")])
def test_a_cancelled_command_is_cancelled_whatever_it_says(command: Command):
    outcome = decide(None, cancelled(command))
    assert (outcome.kind, outcome.state) == (Notice.CANCELLED, None)
