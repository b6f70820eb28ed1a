"""The writer's client against real gRPC: ours, one that knows only the contract, and ones in trouble."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import pytest

from cqrs.transport.grpc_server import grpc_server
from cqrs.writer import apply_client as client_module
from cqrs.writer.apply_client import WriteClient
from cqrs.writer.decoding import undecodable
from cqrs.writer.delay_queue import Held, Holding
from protocol import topics
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_write_pb2 import ApplyReply, Command, CommandBatch, UndecodableBatch
from protocol.contact_write_pb2_grpc import ContactWriterServicer, add_ContactWriterServicer_to_server
from tests.support import factories
from tests.support.polling import eventually
from tests.support.probes import free_port

SERVICE = "protocol.ContactWriter"


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


class Whole(ContractOnly):
    """A database service with the extensions, that fails when told."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Command]] = []
        self.recorded: list[Any] = []
        self.left: list[str] = []
        self.outage: grpc.StatusCode | None = None
        self.refused = 0
        self.defects: dict[str, grpc.StatusCode] = {}

    async def Apply(self, request: CommandBatch, context: Any) -> ApplyReply:
        if self.outage:
            self.refused += 1
            await context.abort(self.outage, "told to be away")
        for command in request.command:
            if code := self.defects.get(factories.id_of(command)):
                await context.abort(code, "told to fail")
        if request.command:
            self.batches.append(list(request.command))
        return ApplyReply(left=self.left)

    async def RecordUndecodable(self, request: UndecodableBatch, context: Any) -> RequestResponse:
        if self.outage:
            await context.abort(self.outage, "told to be away")
        self.recorded += request.undecodable
        return RequestResponse()

    @property
    def applied(self) -> list[str]:
        return [factories.id_of(command) for batch in self.batches for command in batch]


@contextlib.asynccontextmanager
async def serving(servicer: ContactWriterServicer, address: str, token: str = "") -> AsyncIterator[None]:
    register = lambda server: add_ContactWriterServicer_to_server(servicer, server)  # noqa: E731
    async with grpc_server(address, register, tokens={SERVICE: token}, grace=0.1):
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
    async with WriteClient(address) as client:
        yield client


def hold(*commands: Command) -> list[Held]:
    """The commands as a writer has them when they are due."""
    holding = Holding(delay=0, limit=100_000)
    for command in commands:
        holding.hold(command)
    held = []
    while batch := holding.take():
        held += batch
    return held


def ids(commands: Sequence[Command]) -> list[str]:
    return [factories.id_of(command) for command in commands]


async def test_a_batch_is_one_call_and_what_is_left_is_named(client: WriteClient, whole: Whole) -> None:
    commands = [factories.add() for _ in range(3)]
    whole.left = ids(commands)[1:2]
    left, refused = await client.apply(hold(*commands))
    assert whole.batches == [commands]
    assert [held.command_id for held in left] == whole.left
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
    commands = [factories.add() for _ in range(3)]
    applying = asyncio.create_task(client.apply(hold(*commands)))
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
    command = factories.add()
    applying = asyncio.create_task(client.apply(hold(command)))
    await eventually(lambda: caplog.text.count(f"waiting for the database service at {address}: UNAVAILABLE") == 1)
    servicer = Whole()
    async with serving(servicer, address):
        await asyncio.wait_for(applying, 10)
    assert servicer.applied == ids([command])


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN])
async def test_bad_commands_stop_no_others_and_come_back_with_the_reason(
    client: WriteClient, whole: Whole, code: grpc.StatusCode
) -> None:
    commands = [factories.add() for _ in range(100)]
    bad = [ids(commands)[number] for number in (0, 41, 99)]
    whole.defects = dict.fromkeys(bad, code)
    _, refused = await client.apply(hold(*commands))
    assert [held.command_id for held, _ in refused] == bad
    assert {error.details() for _, error in refused} == {"told to fail"}
    assert whole.applied == [command_id for command_id in ids(commands) if command_id not in bad]


async def test_a_service_that_fails_on_everything_is_waited_for(
    client: WriteClient, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk is full, for example: nothing of that is the commands' fault."""
    commands = [factories.add() for _ in range(5)]
    whole.defects = dict.fromkeys(ids(commands), grpc.StatusCode.UNKNOWN)
    applying = asyncio.create_task(client.apply(hold(*commands)))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    whole.defects = {}
    assert await asyncio.wait_for(applying, 10) == ([], [])
    assert whole.applied == ids(commands)


async def test_one_command_alone_is_tried_a_few_times(
    client: WriteClient, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 2)
    command = factories.add()
    whole.defects = dict.fromkeys(ids([command]), grpc.StatusCode.INTERNAL)
    _, ((held, _),) = await asyncio.wait_for(client.apply(hold(command)), 10)
    assert held.command_id == factories.id_of(command)
    assert not client.waiting


async def test_the_token_is_sent_and_a_wrong_one_is_said_and_loses_nothing(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    servicer, command = Whole(), factories.add()
    async with serving(servicer, address, token="right"):
        async with WriteClient(address, token="wrong") as client:
            applying = asyncio.create_task(client.apply(hold(command)))
            await eventually(lambda: "UNAUTHENTICATED" in caplog.text)
            assert not applying.done()
            applying.cancel()
        async with WriteClient(address, token="right") as client:
            await client.apply(hold(command))
    assert servicer.applied == ids([command])


async def test_what_is_no_command_is_recorded(client: WriteClient, whole: Whole) -> None:
    records = [undecodable(topics.ADD, b"\xff", "why")]
    await client.record(records)
    assert whole.recorded == records


async def test_a_service_that_knows_only_the_contract_gets_one_call_a_command(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    add = factories.add()
    contact_id = factories.contact_of(add)
    update, delete = factories.update(contact_id), factories.delete(contact_id)
    assert await client.apply(hold(add, update, delete)) == ([], [])
    assert contract_only.calls == [("add", add.add), ("update", update.update), ("delete", delete.delete)]
    await client.apply(hold(factories.add()))
    assert caplog.text.count("knows only the contract") == 1


async def test_there_each_contact_is_in_order_and_several_go_at_once_within_bounds(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    contract_only.pause = 0.01
    names = [str(number) for number in range(5)]
    commands = [factories.update(f"c{contact}", name) for name in names for contact in range(40)]
    await client.apply(hold(*commands))
    for contact in range(40):
        assert [request.name for _, request in contract_only.calls if request.id == f"c{contact}"] == names
    assert 4 < contract_only.most_at_once <= 16


async def test_there_what_was_applied_is_not_repeated_as_far_as_the_writer_remembers(
    address: str, contract_only: ContractOnly
) -> None:
    async with WriteClient(address, remembered=2) as client:
        first, second, third = factories.add(), factories.add(), factories.add()
        await client.apply(hold(first))
        await client.apply(hold(first, second))
        assert len(contract_only.calls) == 2
        await client.apply(hold(third))
        await client.apply(hold(first))
        assert len(contract_only.calls) == 4


async def test_there_a_cancelled_command_is_not_applied_nor_its_like_later(
    client: WriteClient, contract_only: ContractOnly
) -> None:
    command = factories.add()
    await client.apply(hold(factories.cancelled(command)))
    await client.apply(hold(command))
    assert contract_only.calls == []


async def test_there_an_outage_in_the_middle_repeats_nothing(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    commands = [factories.update("c1", str(number)) for number in range(4)] + [factories.update("c2", "x")]
    contract_only.fail = lambda request: grpc.StatusCode.UNAVAILABLE if request.name == "2" else None
    applying = asyncio.create_task(client.apply(hold(*commands)))
    await eventually(lambda: "waiting for the database service" in caplog.text)
    contract_only.fail = lambda _: None
    await asyncio.wait_for(applying, 10)
    assert sorted(request.name for _, request in contract_only.calls) == ["0", "1", "2", "3", "x"]
    assert [request.name for _, request in contract_only.calls if request.id == "c1"] == ["0", "1", "2", "3"]


async def test_there_what_is_refused_stops_no_others(client: WriteClient, contract_only: ContractOnly) -> None:
    bad, good = factories.update("c1", "bad"), factories.update("c1", "good")
    contract_only.fail = lambda request: grpc.StatusCode.INVALID_ARGUMENT if request.name == "bad" else None
    _, ((held, _),) = await client.apply(hold(bad, good))
    assert held.command_id == factories.id_of(bad)
    assert contract_only.calls == [("update", good.update)]


async def test_there_a_rejection_is_logged_with_its_command(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    contract_only.answer = RequestResponse(status="ERROR", Message="no such contact")
    command = factories.update("c1")
    assert await client.apply(hold(command)) == ([], [])
    assert f"no such contact command={factories.id_of(command)}" in caplog.text


async def test_there_what_is_no_command_is_logged(
    client: WriteClient, contract_only: ContractOnly, caplog: pytest.LogCaptureFixture
) -> None:
    await client.record([undecodable(topics.ADD, b"\xff\xff", "not protobuf")])
    assert "CONTACT/ADD of 2 bytes" in caplog.text
    assert "not protobuf" in caplog.text


async def test_when_ours_takes_its_place_batches_are_applied_again(
    client: WriteClient, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ContractOnly(), address):
        await client.apply(hold(factories.add()))
    command = factories.add()
    applying = asyncio.create_task(client.apply(hold(command)))
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
        applying = asyncio.create_task(client.apply(hold(factories.add())))
        await eventually(lambda: "waiting for the database service" in caplog.text)
        assert "UNIMPLEMENTED" in caplog.text
        assert not applying.done()
        applying.cancel()
