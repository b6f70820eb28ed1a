"""Ids of commands and aggregates.

Command ids that we mint are UUID 7: time-ordered, so that the index that knows them is appended to, not scattered.
The id of an aggregate is derived from the command that creates it, so that a command sent twice names the same one;
where that has a time, so has this id, for the same reason.
"""

import re

import uuid_utils

_NAMESPACE = uuid_utils.UUID("5b0d7e0c-5c0b-5d0e-9a55-0f6e6b1d7c11")
_UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_command_id() -> str:
    """A fresh command id, later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def aggregate_id_of(command_id: str) -> str:
    """The id of the aggregate that the command `command_id` creates.

    A UUID 5 of the command id; where that is a UUID 7, a UUID 8: its time, and of the UUID 5 what it leaves room for.
    """
    derived = str(uuid_utils.uuid5(_NAMESPACE, command_id))
    if _UUID_7.fullmatch(command_id):
        return f"{command_id[:14]}8{derived[15:]}"
    return derived
