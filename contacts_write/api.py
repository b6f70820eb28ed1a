'''Contacts' commands from Python, for views, tasks and shells; see `cqrs.journal.api` for the promises.

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

from asgiref.sync import sync_to_async

from cqrs.journal.accepted import Accepted
from cqrs.journal.api import (
    aamend_command,
    acancel_command,
    adiscard_command,
    amend_command,
    aretry_command,
    cancel_command,
    discard_command,
    retry_command,
    submit,
    together,
)

__all__ = [
    "aadd_contact",
    "aamend_command",
    "acancel_command",
    "add_contact",
    "adelete_contact",
    "adiscard_command",
    "amend_command",
    "aretry_command",
    "aupdate_contact",
    "cancel_command",
    "delete_contact",
    "discard_command",
    "retry_command",
    "together",
    "update_contact",
]


class AcceptedContact(Accepted):
    """The promise that a contact's command is journaled."""

    __slots__ = ()

    @property
    def contact_id(self) -> str:
        return self.aggregate_id


def add_contact(name: str, *, command_id: str | None = None, actor: str = "") -> AcceptedContact:
    """Accepts a command that adds a contact; the answer has the contact's id. Otherwise as `submit`."""
    return AcceptedContact(*submit("contact.add", command_id=command_id, actor=actor, name=name))


def update_contact(
    contact_id: str, name: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact:
    """Accepts a command that renames a contact; otherwise as `submit`."""
    accepted = submit(
        "contact.update",
        contact_id,
        expected_version=expected_version,
        command_id=command_id,
        actor=actor,
        name=name,
    )
    return AcceptedContact(*accepted)


def delete_contact(
    contact_id: str, *, expected_version: int | None = None, command_id: str | None = None, actor: str = ""
) -> AcceptedContact:
    """Accepts a command that deletes a contact; otherwise as `submit`."""
    accepted = submit(
        "contact.delete", contact_id, expected_version=expected_version, command_id=command_id, actor=actor
    )
    return AcceptedContact(*accepted)


aadd_contact = sync_to_async(add_contact)
aupdate_contact = sync_to_async(update_contact)
adelete_contact = sync_to_async(delete_contact)
