"""Contacts' commands: their Python functions, and how they travel beside the Go example.

In Python, from a view, a task or a shell, in any process that has Django set up:

    from contacts_write import add_contact, update_contact

    def register(request):
        accepted = add_contact(request.POST["name"], actor=request.user.get_username())
        return HttpResponse(f"{accepted.contact_id} will be there at {accepted.takes_effect_at:%H:%M:%S}", status=202)

See `cqrs.journal.api` for the promises, and `contacts_write.api` for a test of such a view.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contacts_write.api import (
        aadd_contact,
        aamend_command,
        acancel_command,
        add_contact,
        adelete_contact,
        adiscard_command,
        amend_command,
        aretry_command,
        aupdate_contact,
        cancel_command,
        delete_contact,
        discard_command,
        retry_command,
        together,
        update_contact,
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


def __getattr__(name: str) -> Any:
    # Not at import: Django imports this package before its models can be.
    if name in __all__:
        from contacts_write import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
