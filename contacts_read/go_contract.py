"""The contract of the Go example on the read side: its service, and reads from peers that know nothing else."""

from typing import Any

from cqrs.query.connection import Connection, Method
from cqrs.query.errors import ExtensionMissing, ReadError
from cqrs.query.keys import ById, Key
from protocol.contact_pb2 import ContactReference, RequestResponse
from protocol.contact_read_pb2 import DESCRIPTOR, ListContactsFilter

SERVICE = DESCRIPTOR.services_by_name["ContactReader"]

_GET = Method.of(SERVICE, "GetContact")
_LIST = Method.of(SERVICE, "ListContacts")


class ContractReads:
    """Reads contacts by the contract's calls."""

    async def read(self, connection: Connection, key: Key, ends: float) -> Any:
        if key.aggregate != "contact":
            raise ExtensionMissing(f"the reader at {connection.address}, or its database, knows no {key.aggregate}")
        if isinstance(key, ById):
            reply = await connection.call(_GET, ContactReference(id=key.id), ends)
            # An ERROR means here that there is no such contact.
            return reply.contact if reply.response.status == RequestResponse.OK else None
        reply = await connection.call(_LIST, ListContactsFilter(count=key.most), ends)
        if reply.response.status != RequestResponse.OK:
            raise ReadError(f"contacts cannot be listed: {reply.response.Message}")
        return reply.contact
