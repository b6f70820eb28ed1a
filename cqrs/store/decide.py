"""What a command does to a contact. Pure, so that applying a command and showing what it would do are the same."""

from typing import NamedTuple

from cqrs.store.commands import body_of, ids_error
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_write_pb2 import Command
from protocol.cqrs_command_pb2 import CommandMeta, Operation
from protocol.notice_pb2 import Notice
from protocol.rules import name_error


class Outcome(NamedTuple):
    """What becomes of a command.

    contact: ADDED, UPDATED: as it is to be, but for `last_updated`, which is when it is committed; DELETED: as it was
    last; REJECTED: as it is; None where there is none to show.
    """

    kind: Notice.Kind
    contact: Contact | None
    message: str
    reason: Notice.Reason = Notice.NONE


def decide(contact: Contact | None, command: Command) -> Outcome:
    """What the complete `command` does to `contact` (None: none has its id)."""
    body = command.WhichOneof("body")
    if body is None:
        return _rejected(contact, Notice.INVALID, "the command neither adds nor updates nor deletes")
    if withdrawn := withdrawal(command):
        return withdrawn
    if error := ids_error(body_of(command)):
        return _rejected(contact, Notice.INVALID, error)
    if body == "add":
        return _add(contact, command.add)
    if body == "update":
        return _update(contact, command.update)
    return _delete(contact, command.delete)


def withdrawal(command: Command) -> Outcome | None:
    """The end of a command that is to have no effect; None where it is to have one.

    Apart from `decide`, so that a command on which that fails can be withdrawn all the same.
    """
    meta = body_of(command).meta
    if meta.cancelled:
        return Outcome(Notice.CANCELLED, None, "Cancelled")
    if meta.operation.kind == Operation.DISCARD:
        return Outcome(Notice.DISCARDED, None, "Discarded")
    return None


def after(contact: Contact | None, outcome: Outcome) -> Contact | None:
    """The contact once it came to this."""
    match outcome.kind:
        case Notice.ADDED | Notice.UPDATED:
            return outcome.contact
        case Notice.DELETED:
            return None
        case _:
            return contact


def missing(contact_id: str) -> str:
    """What is said where no contact has this id."""
    return f"user with id {contact_id} not found"


def _add(contact: Contact | None, wanted: Contact) -> Outcome:
    name = wanted.name.strip()
    if error := name_error(name):
        return _rejected(contact, Notice.INVALID, error)
    if contact is not None:
        return _rejected(contact, Notice.CONFLICT, f"user with id {wanted.id} exists already")
    return Outcome(Notice.ADDED, Contact(id=wanted.id, name=name, version=1), "Contact added")


def _update(contact: Contact | None, wanted: Contact) -> Outcome:
    name = wanted.name.strip()
    if error := name_error(name):
        return _rejected(contact, Notice.INVALID, error)
    if contact is None:
        return _rejected(contact, Notice.NOT_FOUND, missing(wanted.id))
    if error := _version_error(contact, wanted.meta):
        return _rejected(contact, Notice.CONFLICT, error)
    return Outcome(Notice.UPDATED, Contact(id=wanted.id, name=name, version=contact.version + 1), "Contact updated")


def _delete(contact: Contact | None, wanted: ContactReference) -> Outcome:
    if contact is None:
        return _rejected(contact, Notice.NOT_FOUND, missing(wanted.id))
    if error := _version_error(contact, wanted.meta):
        return _rejected(contact, Notice.CONFLICT, error)
    return Outcome(Notice.DELETED, contact, "Contact deleted")


def _version_error(contact: Contact, meta: CommandMeta) -> str | None:
    if not meta.HasField("expected_version") or meta.expected_version == contact.version:
        return None
    return f"the contact is at version {contact.version}, not {meta.expected_version}"


def _rejected(contact: Contact | None, reason: Notice.Reason, message: str) -> Outcome:
    return Outcome(Notice.REJECTED, contact, message, reason)
