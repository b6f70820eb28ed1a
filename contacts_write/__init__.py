'''Contacts' commands: their Python functions, and how they travel beside the Go example.

In Python, from a view, a task or a shell, in any process that has Django set up:

    from contacts_write import add_contact, update_contact

    def register(request):
        accepted = add_contact(request.POST["name"], actor=request.user.get_username())
        return HttpResponse(f"{accepted.contact_id} will be there at {accepted.takes_effect_at:%H:%M:%S}", status=202)

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

The functions are those of `cqrs.functions`, with the promises of `cqrs.journal.api`; the stub beside has their types.
'''

from typing import Any

_ONE = ("add_contact", "add_contacts", "update_contact", "delete_contact", "command_state", "cancel_command")
_OPERATORS = ("retry_command", "amend_command", "discard_command")
__all__ = [*_ONE, *_OPERATORS, *(f"a{each}" for each in (*_ONE, *_OPERATORS)), "await_for", "together", "wait_for"]


def __getattr__(name: str) -> Any:
    # Not at import: Django imports this package before its models can be.
    if name in __all__:
        from cqrs import functions

        return getattr(functions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
