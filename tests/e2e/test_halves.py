"""The halves of the database service as two processes, and tokens that keep the sides apart on the wire."""

from collections.abc import Iterator

import grpc
import pytest

from cqrs.transport.credentials import metadata_of
from protocol.contact_pb2 import Contact, ContactReference
from protocol.contact_read_pb2 import ListContactsFilter
from protocol.contact_read_pb2_grpc import ContactReaderStub
from protocol.contact_write_pb2_grpc import ContactWriterStub
from tests.e2e.scenario import act_out_the_example
from tests.support.probes import HOST, answers_grpc, free_port
from tests.support.processes import Stack, manage

DELAY = 0.3
READ, WRITE = "the-read-token", "the-write-token"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    read, write = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    with Stack(
        delay=DELAY, read_token=READ, write_token=WRITE, database_read_address=read, database_write_address=write
    ) as stack:
        stack.address |= {"read half": read, "write half": write}
        for half in ("read", "write"):
            address = stack.address[f"{half} half"]
            command = manage("rundatabase", "--serve", half)
            stack.add(f"{half} half", command, ready=lambda at=address: answers_grpc(at), database_bind=address)
        stack.broker(), stack.reader(), stack.writer(), stack.gateway()
        yield stack.start()


async def test_the_example_runs_with_the_halves_apart_and_guarded(stack: Stack) -> None:
    await act_out_the_example(stack.url, DELAY)


@pytest.mark.parametrize("token", ["", WRITE], ids=["no token", "the other side's token"])
@pytest.mark.parametrize("service", ["reader", "read half"])
def test_a_read_service_refuses_who_has_not_its_token(stack: Stack, service: str, token: str) -> None:
    with grpc.insecure_channel(stack.address[service]) as channel:
        stub = ContactReaderStub(channel)
        for call, request in ((stub.GetContact, ContactReference(id="x")), (stub.ListContacts, ListContactsFilter())):
            with pytest.raises(grpc.RpcError) as refused:
                call(request, timeout=5, metadata=metadata_of(token))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert stub.GetContact(ContactReference(id="x"), timeout=5, metadata=metadata_of(READ)).response.Message


@pytest.mark.parametrize("token", ["", READ], ids=["no token", "the other side's token"])
def test_the_write_service_refuses_who_has_not_its_token(stack: Stack, token: str) -> None:
    with grpc.insecure_channel(stack.address["write half"]) as channel:
        stub = ContactWriterStub(channel)
        for call, request in ((stub.AddContact, Contact(name="x")), (stub.DeleteContact, ContactReference(id="x"))):
            with pytest.raises(grpc.RpcError) as refused:
                call(request, timeout=5, metadata=metadata_of(token))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_half_does_not_serve_the_other_side(stack: Stack) -> None:
    with grpc.insecure_channel(stack.address["write half"]) as channel, pytest.raises(grpc.RpcError) as refused:
        ContactReaderStub(channel).GetContact(ContactReference(id="x"), timeout=5, metadata=metadata_of(READ))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with grpc.insecure_channel(stack.address["read half"]) as channel, pytest.raises(grpc.RpcError) as refused:
        ContactWriterStub(channel).AddContact(Contact(name="x"), timeout=5, metadata=metadata_of(WRITE))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
