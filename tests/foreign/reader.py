"""A reader that knows only the contract: it passes its two RPCs on to the database service."""

from concurrent import futures

import addresses
import contract_pb2_grpc
import grpc


class Proxy(contract_pb2_grpc.ContactReaderServicer):
    def __init__(self, database):
        self._database = database

    def GetContact(self, request, context):
        return self._database.GetContact(request)

    def ListContacts(self, request, context):
        return self._database.ListContacts(request)


def main():
    arguments = addresses.parse()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    database = contract_pb2_grpc.ContactReaderStub(grpc.insecure_channel(arguments.database))
    contract_pb2_grpc.add_ContactReaderServicer_to_server(Proxy(database), server)
    server.add_insecure_port(arguments.reader)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
