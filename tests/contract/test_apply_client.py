"""The writer's client against real gRPC: a whole service, one that knows only the contract, and ones in trouble."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import pytest

from contacts_write.go_contract import message_of
from contacts_write.go_database import GoDatabase
from cqrs.transport.grpc_server import grpc_server
from cqrs.writer import apply_client as client_module
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.decoding import Received
from cqrs.writer.delay_queue import DelayQueue, ScheduledCommand
from cqrs.writer.malformed import record_of
from protocol import topics
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_write_pb2_grpc import ContactWriterServicer, add_ContactWriterServicer_to_server
from protocol.cqrs_command_pb2 import Command, CommandBatch
from protocol.cqrs_write_pb2 import ApplyReply, MalformedBatch, Recorded
from protocol.cqrs_write_pb2_grpc import WriteServiceServicer, add_WriteServiceServicer_to_server
from tests.support import envelopes
from tests.support.polling import eventually
from tests.support.probes import free_port

SERVICES = ("protocol.ContactWriter", "cqrs.WriteService")


class ContractOnly(ContactWriterServicer):
    """A foreign database service: what it does not know is UNIMPLEMENTED."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Contact | ContactReference]] = []
        self.at_once = self.most_at_once = 0
        self.pause = 0.0
        self.answer = RequestResponse()
        self.fail: Callable[[Contact | ContactReference], grpc.StatusCode | None] = lambda _: None

    async def _call(self, kind: str, request: Any, context: Any) -> RequestResponse:
        code = self.fail(request)
        if code is not None:
            await context.abort(code, "told to fail")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.pause)
        self.at_once -= 1
        self.calls.append((kind, request))
        return self.answer

    async def AddContact(self, request: Contact, context: Any) -> RequestResponse:
        return await self._call("add", request, context)

    async def UpdateContact(self, request: Contact, context: Any) -> RequestResponse:
        return await self._call("update", request, context)

    async def DeleteContact(self, request: ContactReference, context: Any) -> RequestResponse:
        return await self._call("delete", request, context)


class Whole(ContractOnly, WriteServiceServicer):
    """A database service with our calls too, that fails when told."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Command]] = []
        self.recorded: list[Any] = []
        self.deferred: list[str] = []
        self.outage: grpc.StatusCode | None = None
        self.refused = 0
        self.defects: dict[str, grpc.StatusCode] = {}

    async def Apply(self, request: CommandBatch, context: Any) -> ApplyReply:
        if self.outage:
            self.refused += 1
            await context.abort(self.outage, "told to be away")
        for command in request.command:
            if code := self.defects.get(envelopes.id_of(command)):
                await context.abort(code, "told to fail")
        if request.command:
            self.batches.append(list(request.command))
        return ApplyReply(deferred=self.deferred)

    async def RecordMalformed(self, request: MalformedBatch, context: Any) -> Recorded:
        if self.outage:
            await context.abort(self.outage, "told to be away")
        self.recorded += request.message
        return Recorded()

    @property
    def applied(self) -> list[str]:
        return [envelopes.id_of(command) for batch in self.batches for command in batch]


@contextlib.asynccontextmanager
async def serving(servicer: ContactWriterServicer, address: str, token: str = "") -> AsyncIterator[None]:
    def register(server: grpc.aio.Server) -> None:
        add_ContactWriterServicer_to_server(servicer, server)
        if isinstance(servicer, WriteServiceServicer):
            add_WriteServiceServicer_to_server(servicer, server)

    async with grpc_server(address, register, tokens=dict.fromkeys(SERVICES, token), grace=0.1):
        yield


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


def due(*commands: Command) -> list[ScheduledCommand]:
    """The commands as a writer has them when they are due."""
    queue = DelayQueue(delay=0, limit=100_000)
    for command in commands:
        queue.schedule(Received(command, command.SerializeToString(), at_most_once=False))
    taken = []
    while batch := queue.take():
        taken += batch
    return taken


def contract_message(command: Command) -> Contact | ContactReference:
    """As the contract's call carries it."""
    kind = ContactReference if command.kind == "contact.delete" else Contact
    return kind.FromString(message_of(command))


def ids(commands: Sequence[Command]) -> list[str]:
    return [envelopes.id_of(command) for command in commands]


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


async def test_there_each_contact_is_in_order_and_several_go_at_once_within_bounds(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    contract_only.pause = 0.01
    names = [str(number) for number in range(5)]
    commands = [envelopes.update(f"c{contact}", name) for name in names for contact in range(40)]
    await client.apply(due(*commands))
    for contact in range(40):
        assert [request.name for _, request in contract_only.calls if request.id == f"c{contact}"] == names
    assert 4 < contract_only.most_at_once <= 16


async def test_there_what_was_applied_is_not_repeated_as_far_as_the_writer_remembers(
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


async def test_there_a_cancelled_command_is_not_applied_nor_its_like_later(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    command = envelopes.add()
    await client.apply(due(envelopes.cancelled(command)))
    await client.apply(due(command))
    assert contract_only.calls == []


async def test_there_an_outage_in_the_middle_repeats_nothing(
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


async def test_there_what_is_refused_stops_no_others(client: WriteClient, contract_only: ContractOnly) -> None:
    bad, good = envelopes.update("c1", "bad"), envelopes.update("c1", "good")
    contract_only.fail = lambda request: grpc.StatusCode.INVALID_ARGUMENT if request.name == "bad" else None
    _, (refused,) = await client.apply(due(bad, good))
    assert refused.command.command_id == envelopes.id_of(bad)
    assert contract_only.calls == [("update", contract_message(good))]


async def test_there_a_rejection_is_logged_with_its_command(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    contract_only.answer = RequestResponse(status="ERROR", Message="no such contact")
    command = envelopes.update("c1")
    assert await client.apply(due(command)) == ([], [])
    assert f"no such contact command={envelopes.id_of(command)}" in caplog.text


async def test_there_malformed_messages_are_not_recorded(client: WriteClient, contract_only: ContractOnly) -> None:
    assert not await client.record([record_of(topics.ADD, b"\xff\xff", "not protobuf")])


async def test_there_commands_of_another_aggregate_are_refused_with_a_sentence_and_stop_no_others(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    note, add = envelopes.command("note.write"), envelopes.add()
    _, (refused,) = await client.apply(due(note, add))
    assert refused.command.command_id == envelopes.id_of(note)
    assert refused.reason == "the database service takes only commands of contacts, not note.write"
    assert contract_only.calls == [("add", contract_message(add))]


async def test_there_journals_learn_of_no_outcome(
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
