"""A writer that knows only the contract: three topics, and one command after the other, each after the delay.

As in the example: no client id, QoS 0, and what fails is logged and forgotten. A field it does not know survives, since
protobuf keeps it from parsing to serialising.
"""

import logging
import time

import addresses
import contract_pb2
import contract_pb2_grpc
import grpc
from google.protobuf.message import DecodeError
from paho.mqtt import client as mqtt

log = logging.getLogger("foreign.writer")


class Writer:
    def __init__(self, database, delay):
        self._delay = delay
        self._calls = {
            "CONTACT/ADD": (contract_pb2.Contact, database.AddContact),
            "CONTACT/UPDATE": (contract_pb2.Contact, database.UpdateContact),
            "CONTACT/DELETE": (contract_pb2.ContactReference, database.DeleteContact),
        }

    def on_connect(self, client, _userdata, _flags, _reason, _properties):
        client.subscribe([(topic, 0) for topic in self._calls])

    def on_subscribe(self, _client, _userdata, _mid, _reasons, _properties):
        log.info("subscribed")

    def on_message(self, _client, _userdata, message):
        kind, call = self._calls[message.topic]
        try:
            command = kind.FromString(message.payload)
        except DecodeError as error:
            log.error("%s: received invalid data: %s", message.topic, error)
            return
        log.info("%s %s: received", message.topic, command.id)
        time.sleep(self._delay)
        try:
            answer = call(command)
        except grpc.RpcError as error:
            log.error("error writing to database: %s", error.details())
            return
        if answer.status != contract_pb2.RequestResponse.OK:
            log.error("error writing to database: %s", answer.Message)
            return
        log.info("%s %s: done", message.topic, command.id)


def main():
    logging.basicConfig(level=logging.INFO)
    arguments = addresses.parse()
    database = contract_pb2_grpc.ContactWriterStub(grpc.insecure_channel(arguments.database))
    writer = Writer(database, arguments.delay)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="", clean_session=True)
    client.on_connect, client.on_subscribe, client.on_message = (
        writer.on_connect,
        writer.on_subscribe,
        writer.on_message,
    )
    client.reconnect_delay_set(1, 1)
    client.connect_async(*addresses.split(arguments.broker))
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main()
