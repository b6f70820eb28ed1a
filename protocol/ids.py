"""Ids of commands and contacts.

Command ids that we mint are UUID 7: time-ordered, so that the index that knows them is appended to, not scattered.
The id of a contact is derived from the command that adds it, so that a command sent twice names the same contact.
"""

import uuid_utils

_CONTACTS = uuid_utils.UUID("5b0d7e0c-5c0b-5d0e-9a55-0f6e6b1d7c11")


def new_command_id() -> str:
    """A fresh command id, later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def contact_id_of(command_id: str) -> str:
    """The id of the contact that the add command `command_id` creates (UUID 5)."""
    return str(uuid_utils.uuid5(_CONTACTS, command_id))
