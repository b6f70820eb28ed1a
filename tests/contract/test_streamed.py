"""Calls over streams, beside the unary calls that they must equal."""

import asyncio
import contextlib

import grpc
import pytest

from cqrs.store.server import DatabaseServer
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.grpc_server import grpc_server
from cqrs.transport.persistent_calls import StreamedAnswers, StreamedCall
from cqrs.writer.apply_client import WriteClient
from protocol.contact_pb2 import Contact
from protocol.cqrs_command_pb2 import CommandBatch
from protocol.cqrs_read_pb2 import Key, Page, ReadReply, ReadRequest
from protocol.cqrs_read_pb2_grpc import ReadServiceStub
from protocol.cqrs_write_pb2_grpc import WriteServiceStub
from tests.support.envelopes import add, contact_of, id_of, update
from tests.support.fake_reader import FullDatabase, served, stored
from tests.support.polling import eventually

SECONDS = 10


def by_ids(*contact_ids):
    return ReadRequest(key=[Key(aggregate="contact", id=each) for each in contact_ids])


def first(*counts):
    return ReadRequest(key=[Key(aggregate="contact", page=Page(count=each)) for each in counts])


class Counted:
    """A method of a stub that counts how often it is called: as many streams."""

    def __init__(self, method):
        self._method = method
        self.opened = 0

    def __call__(self, *args, **options):
        self.opened += 1
        return self._method(*args, **options)


class Peer:
    """A database, and both ways to ask it."""

    def __init__(self, database, channel):
        stub = ReadServiceStub(channel)
        self.database = database
        self.streams = Counted(stub.ReadEach)
        self.plain = Counted(stub.Read)
        self._call = StreamedCall(self.streams, self.plain)

    async def ask(self, *contact_ids, timeout=SECONDS):
        reply = await self._call(by_ids(*contact_ids), timeout=timeout, metadata=())
        return [Contact.FromString(answer.state[0]).name if answer.state else "" for answer in reply.answer]


@pytest.fixture
def store():
    return stored(20)


@pytest.fixture
async def peer(store):
    database = FullDatabase(store)
    async with served(database) as port, open_channel(f"127.0.0.1:{port}") as channel:
        yield Peer(database, channel)


@contextlib.asynccontextmanager
async def fails_as(code):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield raised
    assert raised.value.code() is code, raised.value.details()


async def test_calls_in_turn_share_one_stream(peer):
    for number in range(5):
        assert await peer.ask(f"c{number}", "nobody") == [f"name {number}", ""]
    assert (peer.streams.opened, peer.plain.opened) == (1, 0)


async def test_calls_at_once_have_a_stream_each_and_leave_it_to_those_after_them(peer):
    peer.database.gate.clear()
    asked = [asyncio.create_task(peer.ask(f"c{number}")) for number in range(3)]
    await eventually(lambda: len(peer.database.calls) == 3)
    peer.database.gate.set()
    assert await asyncio.gather(*asked) == [["name 0"], ["name 1"], ["name 2"]]
    await asyncio.gather(*[peer.ask("c7") for _ in range(3)])
    assert peer.streams.opened == 3


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(peer):
    peer.database.gate.clear()
    async with fails_as(grpc.StatusCode.DEADLINE_EXCEEDED):
        await peer.ask("c1", timeout=0.1)
    peer.database.gate.set()
    assert await peer.ask("c2") == ["name 2"]


async def test_a_caller_that_leaves_takes_its_stream_along(peer):
    peer.database.gate.clear()
    asked = asyncio.create_task(peer.ask("c1"))
    await eventually(lambda: peer.database.calls)
    asked.cancel()
    await eventually(lambda: peer.database.abandoned == 1)
    peer.database.gate.set()
    assert await peer.ask("c2") == ["name 2"]


async def test_a_status_ends_its_stream_and_not_the_next_call(peer):
    peer.database.fails = (grpc.StatusCode.INVALID_ARGUMENT, "too much")
    async with fails_as(grpc.StatusCode.INVALID_ARGUMENT) as raised:
        await peer.ask("c1")
    assert raised.value.details() == "too much"
    peer.database.fails = None
    assert await peer.ask("c2") == ["name 2"]
    assert peer.plain.opened == 0


async def test_a_peer_that_knows_no_streams_is_called_plainly(store):
    class Plain(FullDatabase):
        async def ReadEach(self, requests, context):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    database = Plain(store)
    async with served(database) as port, open_channel(f"127.0.0.1:{port}") as channel:
        peer = Peer(database, channel)
        assert await peer.ask("c1") == ["name 1"]
        assert peer.plain.opened == 1


async def test_a_stream_that_ended_while_nothing_was_asked_is_replaced(store, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with open_channel(address) as channel:
        async with served(FullDatabase(store), address):
            peer = Peer(None, channel)
            assert await peer.ask("c1") == ["name 1"]
        async with fails_as(grpc.StatusCode.UNAVAILABLE):
            await peer.ask("c1")
        async with served(FullDatabase(store), address):
            await channel.channel_ready()
            assert await peer.ask("c2") == ["name 2"]


# --- The server's side


@contextlib.asynccontextmanager
async def answering(answer):
    """A server whose streams `answer` answers, a call over one, and the server's exit."""
    answers = StreamedAnswers()

    async def each(requests, context):
        await answers.serve(requests, context, answer)

    def register(server):
        handlers = {"Each": grpc.stream_stream_rpc_method_handler(each)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])

    async with contextlib.AsyncExitStack() as stack:
        server = grpc_server("127.0.0.1:0", register, tokens={"test.Test": ""}, before_stop=answers.stop)
        port = await stack.enter_async_context(server)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel.stream_stream("/test.Test/Each"), stack.aclose


async def echo(request):
    return request


async def test_streams_that_wait_end_well_and_at_once_when_the_server_stops():
    async with answering(echo) as (open_stream, stop):
        stream = open_stream()
        await stream.write(b"one")
        assert await stream.read() == b"one"
        async with asyncio.timeout(3):
            await stop()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_request_that_is_under_way_is_answered_before_the_server_stops():
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow(request):
        entered.set()
        await gate.wait()
        return request

    async with answering(slow) as (open_stream, stop):
        stream = open_stream()
        await stream.write(b"one")
        await entered.wait()
        stopping = asyncio.create_task(stop())
        await asyncio.sleep(0)
        gate.set()
        assert await stream.read() == b"one"
        assert await stream.read() is grpc.aio.EOF
        async with asyncio.timeout(3):
            await stopping


async def test_what_a_stream_leaves_unanswered_is_asked_plainly():
    async def plain(request, **_options):
        return b"plain " + request

    async def end(requests, _context):
        assert await anext(requests) == b"one"

    def register(server):
        handlers = {"Each": grpc.stream_stream_rpc_method_handler(end)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])

    async with (
        grpc_server("127.0.0.1:0", register, tokens={"test.Test": ""}) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = StreamedCall(channel.stream_stream("/test.Test/Each"), plain)
        assert await call(b"one", timeout=SECONDS, metadata=()) == b"plain one"


# --- Our services


@pytest.mark.django_db(transaction=True, databases=["contacts"])
async def test_the_database_answers_a_stream_as_it_answers_calls():
    async with DatabaseServer("127.0.0.1:0").serving() as port, open_channel(f"127.0.0.1:{port}") as channel:
        reads, writes = ReadServiceStub(channel), WriteServiceStub(channel)
        ada, grace = add("Ada"), add("Grace")
        lost = update(contact_of(ada), depends_on="00000000-0000-0000-0000-000000000000")
        apply = writes.ApplyEach()
        for batch in ([ada, grace], [], [ada], [lost]):
            await apply.write(CommandBatch(command=batch))
            reply = await apply.read()
            assert list(reply.deferred) == [id_of(command) for command in batch if command is lost]
            assert reply == await writes.Apply(CommandBatch(command=batch))
        read = reads.ReadEach()
        for request in (
            by_ids(contact_of(grace), "nobody", contact_of(ada)),
            first(2, 0, 1, -1),
            ReadRequest(),
            first(1001),
        ):
            await read.write(request)
            reply = await read.read()
            assert isinstance(reply, ReadReply)
            assert reply == await reads.Read(request)
        await read.write(by_ids(*["x"] * 1001))
        async with fails_as(grpc.StatusCode.INVALID_ARGUMENT):
            await read.read()


@pytest.mark.django_db(transaction=True, databases=["contacts"])
async def test_a_database_stops_at_once_though_reader_and_writer_keep_streams(caplog):
    async with contextlib.AsyncExitStack() as database:
        port = await database.enter_async_context(DatabaseServer("127.0.0.1:0").serving())
        async with open_channel(f"127.0.0.1:{port}") as channel, WriteClient(f"127.0.0.1:{port}") as writer:
            await writer.apply([])
            stub = ReadServiceStub(channel)
            call = StreamedCall(stub.ReadEach, stub.Read)
            await call(by_ids("c1"), timeout=SECONDS, metadata=())
            async with asyncio.timeout(3):
                await database.aclose()
    assert [record for record in caplog.records if record.exc_info] == []
