"""What a contact is, and what its commands do to it. The whole of what the kit is told about contacts."""

from cqrs.aggregate import Aggregate, Effect
from cqrs.store.table import TableStore
from database_service import models
from protocol.contact_pb2 import Contact, ContactReference

# "user with id x not found": the words of the Go example.
contact = Aggregate(
    "contact",
    state=Contact,
    store=TableStore(models.Contact, Contact),
    summary=lambda contact: contact.name,
    noun="user",
    # Of its README.
    aliases={"get_contact": "Another name of contact."},
)


@contact.verb(Contact, Effect.CREATES, "Adds a contact.")
def add(_none: None, wanted: Contact) -> Contact:
    return Contact(name=wanted.name)


@contact.verb(Contact, Effect.CHANGES, "Gives a contact another name.")
def update(_stored: Contact, wanted: Contact) -> Contact:
    return Contact(name=wanted.name)


@contact.verb(ContactReference, Effect.DELETES, "Deletes a contact.")
def delete(stored: Contact, _wanted: ContactReference) -> Contact:
    return stored
