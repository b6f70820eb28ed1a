"""The writer's client at a database service that knows only the Go example's contract."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from contacts_write.go_contract import message_of
from contacts_write.go_database import GoDatabase
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.malformed import record_of
from protocol import topics
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.cqrs_command_pb2 import Command
from tests.support import envelopes
from tests.support.polling import eventually
from tests.support.probes import free_port
from tests.support.write_services import ContractOnly, Whole, due, serving


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def contract_only(address: str) -> AsyncIterator[ContractOnly]:
    servicer = ContractOnly()
    async with serving(servicer, address):
        yield servicer


@pytest.fixture
async def client(address: str) -> AsyncIterator[WriteClient]:
    async with WriteClient(address, contract=GoDatabase(1_000)) as client:
        yield client


def contract_message(command: Command) -> Contact | ContactReference:
    """As the contract's call carries it."""
    kind = ContactReference if command.kind == "contact.delete" else Contact
    return kind.FromString(message_of(command))


async def test_a_service_that_knows_only_the_contract_gets_one_call_a_command(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    add = envelopes.add()
    contact_id = add.aggregate_id
    update, delete = envelopes.update(contact_id), envelopes.delete(contact_id)
    assert await client.apply(due(add, update, delete)) == ([], [])
    assert contract_only.calls == [
        ("add", contract_message(add)),
        ("update", contract_message(update)),
        ("delete", contract_message(delete)),
    ]
    await client.apply(due(envelopes.add()))
    assert caplog.text.count("knows only the contract") == 1


async def test_each_contact_is_in_order_and_several_go_at_once_within_bounds(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    contract_only.pause = 0.01
    names = [str(number) for number in range(5)]
    commands = [envelopes.update(f"c{contact}", name) for name in names for contact in range(40)]
    await client.apply(due(*commands))
    for contact in range(40):
        assert [request.name for _, request in contract_only.calls if request.id == f"c{contact}"] == names
    assert 4 < contract_only.most_at_once <= 16


async def test_what_was_applied_is_not_repeated_as_far_as_the_writer_remembers(
    address: str, contract_only: ContractOnly
) -> None:
    async with WriteClient(address, contract=GoDatabase(remembered=2)) as client:
        first, second, third = envelopes.add(), envelopes.add(), envelopes.add()
        await client.apply(due(first))
        await client.apply(due(first, second))
        assert len(contract_only.calls) == 2
        await client.apply(due(third))
        await client.apply(due(first))
        assert len(contract_only.calls) == 4


async def test_a_cancelled_command_is_not_applied_nor_its_like_later(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    command = envelopes.add()
    await client.apply(due(envelopes.cancelled(command)))
    await client.apply(due(command))
    assert contract_only.calls == []


async def test_an_outage_in_the_middle_repeats_nothing(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    commands = [envelopes.update("c1", str(number)) for number in range(4)] + [envelopes.update("c2", "x")]
    contract_only.fail = lambda request: grpc.StatusCode.UNAVAILABLE if request.name == "2" else None
    applying = asyncio.create_task(client.apply(due(*commands)))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    contract_only.fail = lambda _: None
    await asyncio.wait_for(applying, 10)
    assert sorted(request.name for _, request in contract_only.calls) == ["0", "1", "2", "3", "x"]
    assert [request.name for _, request in contract_only.calls if request.id == "c1"] == ["0", "1", "2", "3"]


async def test_what_is_refused_stops_no_others(client: WriteClient, contract_only: ContractOnly) -> None:
    bad, good = envelopes.update("c1", "bad"), envelopes.update("c1", "good")
    contract_only.fail = lambda request: grpc.StatusCode.INVALID_ARGUMENT if request.name == "bad" else None
    _, (refused,) = await client.apply(due(bad, good))
    assert refused.command.command_id == envelopes.id_of(bad)
    assert contract_only.calls == [("update", contract_message(good))]


async def test_a_rejection_is_logged_with_its_command(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    contract_only.answer = RequestResponse(status="ERROR", Message="no such contact")
    command = envelopes.update("c1")
    assert await client.apply(due(command)) == ([], [])
    assert f"no such contact command={envelopes.id_of(command)}" in caplog.text


async def test_malformed_messages_are_not_recorded(client: WriteClient, contract_only: ContractOnly) -> None:
    assert not await client.record([record_of(topics.ADD, b"\xff\xff", "not protobuf")])


async def test_commands_of_another_aggregate_are_refused_with_a_sentence_and_stop_no_others(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    note, add = envelopes.command("note.write"), envelopes.add()
    _, (refused,) = await client.apply(due(note, add))
    assert refused.command.command_id == envelopes.id_of(note)
    assert refused.reason == "the database service takes only commands of contacts, not note.write"
    assert contract_only.calls == [("add", contract_message(add))]


async def test_journals_learn_of_no_outcome(
    client: WriteClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ContractOnly(), address):
        assert client.keeps_outcomes
        await client.apply([])
        assert not client.keeps_outcomes
    applying = asyncio.create_task(client.apply(due(envelopes.add())))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    assert not client.keeps_outcomes, "as far as is known"
    async with serving(Whole(), address):
        await asyncio.wait_for(applying, 10)
    assert client.keeps_outcomes
