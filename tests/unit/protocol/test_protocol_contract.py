"""The contract, written down: names, numbers and types that a foreign client or service of the Go example relies on.

A change of a .proto file that makes this fail breaks them. New fields and RPCs are free to come.
"""

import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor

from protocol import contact_pb2, contact_read_pb2, contact_write_pb2, topics
from protocol.cqrs_command_pb2 import CommandMeta

STRING, INT32, ENUM, MESSAGE = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_MESSAGE,
)

# (full name of the message, name of the field, number, type, repeated, full name of the field's type)
FIELDS = [
    ("protocol.Contact", "id", 1, STRING, False, None),
    ("protocol.Contact", "name", 2, STRING, False, None),
    ("protocol.Contact", "last_updated", 5, MESSAGE, False, "google.protobuf.Timestamp"),
    ("protocol.RequestResponse", "status", 1, ENUM, False, "protocol.RequestResponse.StatusEnum"),
    ("protocol.RequestResponse", "Message", 2, STRING, False, None),
    ("protocol.ContactRequestResponse", "response", 1, MESSAGE, False, "protocol.RequestResponse"),
    ("protocol.ContactRequestResponse", "contact", 2, MESSAGE, False, "protocol.Contact"),
    ("protocol.ContactArrayRequestResponse", "response", 1, MESSAGE, False, "protocol.RequestResponse"),
    ("protocol.ContactArrayRequestResponse", "contact", 2, MESSAGE, True, "protocol.Contact"),
    ("protocol.ContactReference", "id", 1, STRING, False, None),
    ("protocol.ListContactsFilter", "count", 1, INT32, False, None),
]

# (full name of the service, method, request, answer)
METHODS = [
    ("protocol.ContactWriter", "AddContact", "protocol.Contact", "protocol.RequestResponse"),
    ("protocol.ContactWriter", "UpdateContact", "protocol.Contact", "protocol.RequestResponse"),
    ("protocol.ContactWriter", "DeleteContact", "protocol.ContactReference", "protocol.RequestResponse"),
    ("protocol.ContactReader", "GetContact", "protocol.ContactReference", "protocol.ContactRequestResponse"),
    ("protocol.ContactReader", "ListContacts", "protocol.ListContactsFilter", "protocol.ContactArrayRequestResponse"),
]

FILES = [contact_pb2.DESCRIPTOR, contact_read_pb2.DESCRIPTOR, contact_write_pb2.DESCRIPTOR]
MESSAGES = {message.full_name: message for file in FILES for message in file.message_types_by_name.values()}
SERVICES = {service.full_name: service for file in FILES for service in file.services_by_name.values()}


@pytest.mark.parametrize(("message", "name", "number", "kind", "repeated", "type_name"), FIELDS)
def test_a_field_of_the_contract_keeps_name_number_and_type(message, name, number, kind, repeated, type_name):
    field = MESSAGES[message].fields_by_name[name]
    of_type = field.message_type or field.enum_type
    assert (field.number, field.type, field.is_repeated) == (number, kind, repeated)
    assert (of_type.full_name if of_type else None) == type_name
    assert field.containing_oneof is None


def test_no_message_of_the_contract_has_fields_of_ours_among_the_first_thirteen_numbers():
    known = {(message, number) for message, _, number, *_ in FIELDS}
    ours = [
        (name, field.number)
        for name in {message for message, *_ in FIELDS}
        for field in MESSAGES[name].fields
        if (name, field.number) not in known
    ]
    assert all(number >= 14 for _, number in ours), ours


@pytest.mark.parametrize(("service", "method", "request_type", "answer_type"), METHODS)
def test_a_method_of_the_contract_keeps_its_name_and_types(service, method, request_type, answer_type):
    found = SERVICES[service].methods_by_name[method]
    assert (found.input_type.full_name, found.output_type.full_name) == (request_type, answer_type)
    assert not found.client_streaming
    assert not found.server_streaming


def test_statuses_keep_their_numbers():
    assert dict(contact_pb2.RequestResponse.StatusEnum.items()) == {"OK": 0, "ERROR": 1}


def test_topics_keep_their_names():
    assert (topics.ADD, topics.UPDATE, topics.DELETE) == ("CONTACT/ADD", "CONTACT/UPDATE", "CONTACT/DELETE")


def test_a_contact_has_the_bytes_the_go_example_sends():
    contact = contact_pb2.Contact(id="a1", name="Zoë", last_updated=timestamp_pb2.Timestamp(seconds=300, nanos=7))
    golden = bytes.fromhex("0a02 6131 1204 5a6fc3ab 2a05 08ac02 1007")
    assert contact.SerializeToString() == golden
    assert contact_pb2.Contact.FromString(golden) == contact


def test_a_list_answer_has_the_bytes_the_go_example_sends():
    answer = contact_read_pb2.ContactArrayRequestResponse(
        response=contact_pb2.RequestResponse(status=contact_pb2.RequestResponse.ERROR, Message="no"),
        contact=[contact_pb2.Contact(id="a"), contact_pb2.Contact(id="b")],
    )
    golden = bytes.fromhex("0a06 0801 12026e6f 1203 0a0161 1203 0a0162")
    assert answer.SerializeToString() == golden
    assert contact_read_pb2.ContactArrayRequestResponse.FromString(golden) == answer


def test_a_reference_and_a_filter_have_the_bytes_the_go_example_sends():
    assert contact_pb2.ContactReference(id="a1").SerializeToString() == bytes.fromhex("0a026131")
    assert contact_read_pb2.ListContactsFilter(count=300).SerializeToString() == bytes.fromhex("08ac02")


def test_a_peer_that_knows_only_the_contract_reads_our_contact():
    """Ours adds fields 14 and 15; without them the first thirteen read the same."""
    ours = contact_pb2.Contact(id="a", name="b", version=3, meta=CommandMeta(command_id="c"))
    plain = contact_pb2.Contact(id="a", name="b")
    assert ours.SerializeToString().startswith(plain.SerializeToString())
