"""Contacts as they are stored.

SQL on Django's cursor: building the query through a model takes eight times as long as answering it.
"""

from collections.abc import Sequence

from cqrs.engines import select_in
from cqrs.store.database import cursor
from cqrs.store.messages import CONTACT_COLUMNS, ContactRow, contact_of
from protocol.contact_pb2 import Contact


def get_contact(contact_id: str) -> Contact | None:
    """The contact by this id, or None."""
    return get_contacts([contact_id]).get(contact_id)


def get_contacts(contact_ids: Sequence[str]) -> dict[str, Contact]:
    """Those of the contacts that there are, by id."""
    return {contact_id: contact_of(*row) for contact_id, row in contact_rows(contact_ids).items()}


def list_contacts(count: int) -> list[Contact]:
    """The first `count` contacts, in the order they were added."""
    return [contact_of(*row) for row in first_rows(count)]


def contact_rows(contact_ids: Sequence[str]) -> dict[str, ContactRow]:
    """The rows of those of the contacts that there are, by id."""
    with cursor() as on:
        found = select_in(on, f"SELECT {CONTACT_COLUMNS} FROM contact WHERE id IN ({{}})", contact_ids)
        return {row[0]: row for row in found}


def first_rows(count: int) -> list[ContactRow]:
    """The rows of the first `count` contacts, in the order they were added."""
    with cursor() as on:
        on.execute(f"SELECT {CONTACT_COLUMNS} FROM contact ORDER BY added_by LIMIT %s", [count])
        rows: list[ContactRow] = on.fetchall()
        return rows
