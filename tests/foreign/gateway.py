"""A gateway that knows only the contract: the example's GraphQL over HTTP, bare messages on the three topics.

As in the example: no client id, QoS 0, and an update or delete of an id that the reader does not know is refused.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import addresses
import contract_pb2
import contract_pb2_grpc
import graphql
import grpc
from paho.mqtt import client as mqtt

SCHEMA = graphql.build_schema(
    """
    type Query { contact(id: String!): Contact  listContacts(count: Int!): [Contact] }
    type Mutation {
      addContact(name: String!): RequestResponse!
      updateContact(id: String!, name: String!): RequestResponse!
      deleteContact(id: String!): RequestResponse!
    }
    type Contact { id: String  name: String!  last_updated: String }
    type RequestResponse { status: RequestStatus!  message: String! }
    enum RequestStatus { OK ERROR }
    """
)


class Root:
    def __init__(self, reader, broker):
        self._reader = reader
        self._broker = broker

    def contact(self, _info, id):
        return self._found(id, "no documents in result")

    def listContacts(self, _info, count):
        answer = self._reader.ListContacts(contract_pb2.ListContactsFilter(count=count))
        return [_shown(contact) for contact in answer.contact]

    def addContact(self, _info, name):
        return self._publish("CONTACT/ADD", contract_pb2.Contact(name=name), "Queued to add")

    def updateContact(self, _info, id, name):
        self._found(id, f"user with id {id} not found")
        return self._publish("CONTACT/UPDATE", contract_pb2.Contact(id=id, name=name), "Queued to update")

    def deleteContact(self, _info, id):
        self._found(id, f"user with id {id} not found")
        return self._publish("CONTACT/DELETE", contract_pb2.ContactReference(id=id), "Queued to delete")

    def _found(self, id, otherwise):
        answer = self._reader.GetContact(contract_pb2.ContactReference(id=id))
        if answer.response.status != contract_pb2.RequestResponse.OK:
            raise ValueError(otherwise)
        return _shown(answer.contact)

    def _publish(self, topic, message, answer):
        self._broker.publish(topic, message.SerializeToString(), qos=0).wait_for_publish(timeout=1)
        return {"status": "OK", "message": answer}


def _shown(contact):
    return {"id": contact.id, "name": contact.name, "last_updated": f"seconds:{contact.last_updated.seconds}"}


def handler(root, broker):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer({}, 200 if broker.is_connected() else 503)

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            result = graphql.graphql_sync(SCHEMA, asked["query"], root, variable_values=asked.get("variables"))
            self._answer(result.formatted)

        def _answer(self, body, status=200):
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

    return Handler


def main():
    arguments = addresses.parse()
    broker = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="", clean_session=True)
    broker.reconnect_delay_set(1, 1)
    broker.connect_async(*addresses.split(arguments.broker))
    broker.loop_start()
    reader = contract_pb2_grpc.ContactReaderStub(grpc.insecure_channel(arguments.reader))
    root = Root(reader, broker)
    ThreadingHTTPServer(addresses.split(arguments.gateway), handler(root, broker)).serve_forever()


if __name__ == "__main__":
    main()
