"""A database service that knows only the contract: contacts in a list in memory.

As in the example, it gives each contact its id, whatever the message says; an update or a delete of an unknown id is
OK and does nothing; a missing contact is an ERROR inside an answer that is OK for gRPC; `count` 0 lists all.
"""

import itertools
import threading
import time
import uuid
from concurrent import futures

import addresses
import contract_pb2
import contract_pb2_grpc
import grpc

OK = contract_pb2.RequestResponse(status=contract_pb2.RequestResponse.OK, Message="OK")


class Contacts(contract_pb2_grpc.ContactReaderServicer, contract_pb2_grpc.ContactWriterServicer):
    def __init__(self):
        self._contacts = {}
        self._lock = threading.Lock()

    def AddContact(self, request, context):
        contact = contract_pb2.Contact(id=str(uuid.uuid4()), name=request.name)
        contact.last_updated.seconds = int(time.time())
        with self._lock:
            self._contacts[contact.id] = contact
        return OK

    def UpdateContact(self, request, context):
        with self._lock:
            if request.id in self._contacts:
                contact = contract_pb2.Contact(id=request.id, name=request.name)
                contact.last_updated.seconds = int(time.time())
                self._contacts[request.id] = contact
        return OK

    def DeleteContact(self, request, context):
        with self._lock:
            self._contacts.pop(request.id, None)
        return OK

    def GetContact(self, request, context):
        with self._lock:
            contact = self._contacts.get(request.id)
        if contact is None:
            error = contract_pb2.RequestResponse(
                status=contract_pb2.RequestResponse.ERROR, Message="no documents in result"
            )
            return contract_pb2.ContactRequestResponse(response=error)
        return contract_pb2.ContactRequestResponse(response=OK, contact=contact)

    def ListContacts(self, request, context):
        with self._lock:
            contacts = list(itertools.islice(self._contacts.values(), request.count or None))
        return contract_pb2.ContactArrayRequestResponse(response=OK, contact=contacts)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    contacts = Contacts()
    contract_pb2_grpc.add_ContactReaderServicer_to_server(contacts, server)
    contract_pb2_grpc.add_ContactWriterServicer_to_server(contacts, server)
    server.add_insecure_port(addresses.parse().database)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
