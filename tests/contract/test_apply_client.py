"""The writer's client against real gRPC: a whole service, and ones in trouble."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest

from contacts_write.go_database import GoDatabase
from cqrs.writer import apply_client as client_module
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.malformed import record_of
from protocol import topics
from protocol.contact_write_pb2_grpc import ContactWriterServicer
from tests.support import envelopes
from tests.support.polling import eventually
from tests.support.probes import free_port
from tests.support.write_services import ContractOnly, Whole, due, ids, serving


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def whole(address: str) -> AsyncIterator[Whole]:
    servicer = Whole()
    async with serving(servicer, address):
        yield servicer


@pytest.fixture
async def contract_only(address: str) -> AsyncIterator[ContractOnly]:
    servicer = ContractOnly()
    async with serving(servicer, address):
        yield servicer


@pytest.fixture
async def client(address: str) -> AsyncIterator[WriteClient]:
    async with WriteClient(address, contract=GoDatabase(1_000)) as client:
        yield client


async def test_a_batch_is_one_call_and_the_deferred_are_named(client: WriteClient, whole: Whole) -> None:
    commands = [envelopes.add() for _ in range(3)]
    whole.deferred = ids(commands)[1:2]
    deferred, refused = await client.apply(due(*commands))
    assert whole.batches == [commands]
    assert [each.command_id for each in deferred] == whole.deferred
    assert refused == []


async def test_an_empty_batch_asks_whether_it_is_there(client: WriteClient, whole: Whole) -> None:
    assert await client.apply([]) == ([], [])


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
async def test_an_outage_is_said_once_and_the_same_batch_is_offered_again(
    client: WriteClient, whole: Whole, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole.outage = code
    commands = [envelopes.add() for _ in range(3)]
    applying = asyncio.create_task(client.apply(due(*commands)))
    await eventually(lambda: whole.refused >= 3, what="it is offered again and again")
    assert client.waiting
    assert not applying.done()
    whole.outage = None
    assert await asyncio.wait_for(applying, 10) == ([], [])
    assert whole.batches == [commands]
    assert caplog.text.count("waiting for the database service") == 1
    assert f"{code.name}: told to be away" in caplog.text
    assert caplog.text.count("connected to the database service") == 1
    assert not client.waiting


async def test_a_service_that_is_not_there_yet_is_waited_for(
    client: WriteClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    command = envelopes.add()
    applying = asyncio.create_task(client.apply(due(command)))
    await eventually(lambda: caplog.text.count(f"waiting for the database service at {address}: UNAVAILABLE") == 1)
    servicer = Whole()
    async with serving(servicer, address):
        await asyncio.wait_for(applying, 10)
    assert servicer.applied == ids([command])


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN])
async def test_bad_commands_stop_no_others_and_come_back_with_the_reason(
    client: WriteClient, whole: Whole, code: grpc.StatusCode
) -> None:
    commands = [envelopes.add() for _ in range(100)]
    bad = [ids(commands)[number] for number in (0, 41, 99)]
    whole.defects = dict.fromkeys(bad, code)
    _, refused = await client.apply(due(*commands))
    assert [each.command.command_id for each in refused] == bad
    assert {each.reason for each in refused} == {f"{code.name}: told to fail"}
    assert whole.applied == [command_id for command_id in ids(commands) if command_id not in bad]


async def test_a_service_that_fails_on_everything_is_waited_for(
    client: WriteClient, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk is full, for example: nothing of that is the commands' fault."""
    commands = [envelopes.add() for _ in range(5)]
    whole.defects = dict.fromkeys(ids(commands), grpc.StatusCode.UNKNOWN)
    applying = asyncio.create_task(client.apply(due(*commands)))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    whole.defects = {}
    assert await asyncio.wait_for(applying, 10) == ([], [])
    assert whole.applied == ids(commands)


async def test_one_command_alone_is_tried_a_few_times(
    client: WriteClient, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 2)
    command = envelopes.add()
    whole.defects = dict.fromkeys(ids([command]), grpc.StatusCode.INTERNAL)
    _, (refused,) = await asyncio.wait_for(client.apply(due(command)), 10)
    assert refused.command.command_id == envelopes.id_of(command)
    assert not client.waiting


async def test_the_token_is_sent_and_a_wrong_one_is_said_and_loses_nothing(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    servicer, command = Whole(), envelopes.add()
    async with serving(servicer, address, token="right"):
        async with WriteClient(address, token="wrong") as client:
            applying = asyncio.create_task(client.apply(due(command)))
            await eventually(lambda: "UNAUTHENTICATED" in caplog.text)
            assert not applying.done()
            applying.cancel()
        async with WriteClient(address, token="right") as client:
            await client.apply(due(command))
    assert servicer.applied == ids([command])


async def test_malformed_messages_are_recorded(client: WriteClient, whole: Whole) -> None:
    records = [record_of(topics.ADD, b"\xff", "why")]
    assert await client.record(records)
    assert whole.recorded == records


async def test_without_the_contract_a_service_that_knows_nothing_else_is_waited_for(
    address: str, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    async with WriteClient(address) as client:
        applying = asyncio.create_task(client.apply(due(envelopes.add())))
        await eventually(lambda: "UNIMPLEMENTED" in caplog.text)
        assert not applying.done()
        applying.cancel()
    assert contract_only.calls == []


async def test_commands_arrive_as_the_bytes_that_came(client: WriteClient, whole: Whole) -> None:
    unknown = b"\xf2\x01\x03new"  # field 30
    (scheduled,) = due(envelopes.command("note.write", body=b"\xff"))
    await client.apply([scheduled._replace(payload=unknown + scheduled.payload)])
    ((command,),) = whole.batches
    assert command.body == b"\xff"
    assert unknown in command.SerializeToString()


async def test_when_ours_takes_its_place_batches_are_applied_again(
    client: WriteClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ContractOnly(), address):
        await client.apply(due(envelopes.add()))
    command = envelopes.add()
    applying = asyncio.create_task(client.apply(due(command)))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    servicer = Whole()
    async with serving(servicer, address):
        await asyncio.wait_for(applying, 10)
    assert servicer.applied == ids([command])
    assert servicer.calls == []


async def test_a_service_that_is_no_write_service_is_waited_for(
    client: WriteClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ContactWriterServicer(), address):
        applying = asyncio.create_task(client.apply(due(envelopes.add())))
        await eventually(lambda: "waiting for the database service" in caplog.text)
        assert "UNIMPLEMENTED" in caplog.text
        assert not applying.done()
        applying.cancel()
