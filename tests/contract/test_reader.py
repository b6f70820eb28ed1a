"""The read side as its callers know it: in memory, straight from a database, and through the reader."""

import asyncio
import contextlib
import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from contacts_read.go_contract import SERVICE as CONTRACT
from contacts_read.go_contract import ContractReads
from cqrs.query.client import ReadClient
from cqrs.query.errors import (
    ExtensionMissing,
    PositionInvalid,
    PositionTooOld,
    PositionUnknown,
    ReaderUnavailable,
)
from cqrs.query.feed import NoticeFeed
from cqrs.query.reader import ReaderServer
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_server import is_healthy
from cqrs.transport.process import StartError
from protocol.contact_pb2 import Contact
from tests.support.fake_reader import ContractDatabase, FakeReader, FullDatabase, served, stored

KINDS = ["in memory", "direct", "through the reader"]


@pytest.fixture
def store():
    return stored(20)


@pytest.fixture
def unused_address(unused_tcp_port):
    return f"127.0.0.1:{unused_tcp_port}"


@contextlib.asynccontextmanager
async def reader_of(kind, store, servicer):
    """A read client of the kind, over the store."""
    async with contextlib.AsyncExitStack() as opened:
        if kind == "in memory":
            made = FakeReader(store)
            made.extended = servicer is FullDatabase
            yield made
            return
        port = await opened.enter_async_context(served(servicer(store)))
        if kind == "through the reader":
            port = await opened.enter_async_context(
                ReaderServer("127.0.0.1:0", f"127.0.0.1:{port}", contracts=[CONTRACT]).serving()
            )
        yield await opened.enter_async_context(ReadClient(f"127.0.0.1:{port}", fallback=ContractReads()))


@pytest.fixture(params=KINDS)
async def reader(request, store):
    async with reader_of(request.param, store, FullDatabase) as made:
        yield made


@pytest.fixture(params=KINDS)
async def contract_reader(request, store):
    async with reader_of(request.param, store, ContractDatabase) as made:
        yield made


async def until(condition, within=10):
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def numbers(batches, count):
    """The numbers of the next notices."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += [notice.number for notice in (await anext(batches)).notice]
    return found


# --- What every reader does


async def test_a_contact_is_read_as_stored(reader):
    assert await reader.get("contact", "c7") == Contact(id="c7", name="name 7")


async def test_a_missing_contact_is_none(reader):
    assert await reader.get("contact", "nobody") is None


async def test_the_first_contacts_are_listed_in_order(reader):
    assert [contact.id for contact in await reader.first("contact", 3)] == ["c0", "c1", "c2"]
    assert len(await reader.first("contact", 1000)) == 20
    assert list(await reader.first("contact", 0)) == []


async def test_outcomes_are_found_by_command_id(reader, store):
    store.commit(3)
    outcomes = await reader.get_outcomes(["command-2", "unknown"])
    assert {command_id: notice.number for command_id, notice in outcomes.items()} == {"command-2": 2}


async def test_notices_are_read_from_a_position_on(reader, store):
    store.commit(5)
    assert [notice.number for notice in (await reader.read_notices("0", 2)).notice] == [1, 2]
    batch = await reader.read_notices("3.first", 100)
    assert [notice.number for notice in batch.notice] == [4, 5]
    assert (batch.head, batch.database) == ("5.first", "first")
    assert not (await reader.read_notices(batch.head, 100)).notice


async def test_notices_are_watched_from_a_position_on(reader, store):
    store.commit(2)
    async with contextlib.aclosing(reader.watch_notices("1.first")) as batches:
        assert await numbers(batches, 1) == [2]
        store.commit(3)
        assert await numbers(batches, 3) == [3, 4, 5]


async def test_watching_from_now_begins_with_an_empty_batch_that_names_the_head(reader, store):
    store.commit(2)
    async with contextlib.aclosing(reader.watch_notices("")) as batches:
        hello = await anext(batches)
        assert (len(hello.notice), hello.head, hello.database) == (0, "2.first", "first")


@pytest.mark.parametrize(
    ("position", "error"),
    [("1.first", PositionTooOld), ("4.other", PositionUnknown), ("9.first", PositionUnknown), ("x", PositionInvalid)],
)
async def test_a_position_that_cannot_be_read_on_from_is_refused(reader, store, position, error):
    store.commit(5)
    store.pruned = 3
    with pytest.raises(error):
        await reader.read_notices(position, 10)
    with pytest.raises(error):
        await anext(reader.watch_notices(position))


async def test_a_watch_that_is_left_ends_at_the_database(reader, store):
    batches = reader.watch_notices("")
    await anext(batches)
    assert store.watchers == 1
    await batches.aclose()
    await until(lambda: store.watchers == 0)


async def test_a_feed_hears_all_over_a_lost_connection(reader, store):
    heard = []
    feed = NoticeFeed(reader, on_notices=[lambda notices: heard.extend(notice.number for notice in notices)])
    running = asyncio.create_task(feed.run())
    await until(lambda: feed.state == "live")
    store.commit(2)
    await until(lambda: heard == [1, 2])
    store.end_watches()
    store.commit(2)
    await until(lambda: heard == [1, 2, 3, 4])
    running.cancel()
    await asyncio.wait([running])


async def test_a_contract_only_peer_gives_contacts(contract_reader):
    one, none, listed = await asyncio.gather(
        contract_reader.get("contact", "c7"),
        contract_reader.get("contact", "nobody"),
        contract_reader.first("contact", 3),
    )
    assert one == Contact(id="c7", name="name 7")
    assert none is None
    assert [contact.id for contact in listed] == ["c0", "c1", "c2"]


async def test_a_contract_only_peer_has_no_outcomes_and_no_notices(contract_reader):
    with pytest.raises(ExtensionMissing):
        await contract_reader.get_outcomes(["command-1"])
    with pytest.raises(ExtensionMissing):
        await contract_reader.read_notices("0", 10)
    with pytest.raises(ExtensionMissing):
        await anext(contract_reader.watch_notices(""))


# --- The client alone


@pytest.fixture
async def database(store):
    return FullDatabase(store)


@pytest.fixture
async def address(database):
    async with served(database) as port:
        yield f"127.0.0.1:{port}"


async def test_concurrent_reads_are_one_call_on_the_wire(database, address):
    async with ReadClient(address) as client:
        await asyncio.gather(*(client.get("contact", f"c{number}") for number in range(20)), client.first("contact", 5))
    assert database.calls == ["ReadEach"]


async def test_a_reader_that_is_away_is_named_with_the_reason_at_the_deadline(unused_address):
    async with ReadClient(unused_address, deadline=0.3) as client:
        for read in (client.get("contact", "c1"), client.get_outcomes(["a"]), anext(client.watch_notices(""))):
            with pytest.raises(ReaderUnavailable) as raised:
                await read
            assert unused_address in str(raised.value)
            assert "refused" in str(raised.value)
            assert "\n" not in str(raised.value)


async def test_a_reader_that_does_not_answer_is_given_up_at_the_deadline(database, address):
    database.gate.clear()
    async with ReadClient(address, deadline=0.2) as client:
        for read in (client.get("contact", "c1"), client.get_outcomes(["a"]), anext(client.watch_notices(""))):
            with pytest.raises(ReaderUnavailable, match="did not answer"):
                await read
    database.gate.set()


async def test_a_read_outlives_a_restart_of_the_reader(store, unused_address):
    async with ReadClient(unused_address) as client:
        async with served(FullDatabase(store), unused_address):
            await client.get("contact", "c1")
        read = asyncio.create_task(client.get("contact", "c1", timeout=10))
        await until(lambda: "refused" in client._connection._trouble)
        async with served(FullDatabase(store), unused_address):
            assert (await read).name == "name 1"


async def test_a_read_that_the_reader_dies_under_is_asked_again(store, unused_address):
    async with ReadClient(unused_address) as client:
        dying = FullDatabase(store)
        dying.gate.clear()
        async with served(dying, unused_address):
            read = asyncio.create_task(client.get("contact", "c1", timeout=10))
            await until(lambda: dying.calls)
        async with served(FullDatabase(store), unused_address):
            assert (await read).name == "name 1"


async def test_a_client_that_is_not_open_says_so():
    client = ReadClient("127.0.0.1:1")
    with pytest.raises(ReaderUnavailable, match="closed"):
        await client.get("contact", "c1")
    with pytest.raises(ReaderUnavailable, match="closed"):
        await client.get_outcomes(["a"])


async def test_closing_the_client_ends_its_calls(database, address):
    database.gate.clear()
    async with ReadClient(address) as client:
        calls = [asyncio.create_task(client.get_outcomes(["a"])), asyncio.create_task(client.get("contact", "c1"))]
        await until(lambda: len(database.calls) == 2)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in results] == [ReaderUnavailable] * 2
    database.gate.set()


# --- The reader alone


@contextlib.asynccontextmanager
async def reading_from(address, **options):
    async with (
        ReaderServer("127.0.0.1:0", address, contracts=[CONTRACT], **options).serving() as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


class Echo(grpc.GenericRpcHandler):
    """A database that answers any call with what it got, and remembers the metadata."""

    def __init__(self):
        self.metadata = {}

    def service(self, handler_call_details):
        self.metadata = dict(handler_call_details.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(self._echo)

    async def _echo(self, request, _context):
        return request


@pytest.fixture
async def echo():
    server = grpc.aio.server()
    handler = Echo()
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield handler, f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.mark.parametrize(
    "method",
    [
        "protocol.ContactReader/GetContact",
        "protocol.ContactReader/ListContacts",
        "cqrs.ReadService/Read",
        "cqrs.ReadService/GetOutcomes",
        "cqrs.ReadService/ReadNotices",
    ],
)
async def test_the_reader_passes_bytes_on_unchanged(echo, method):
    _, address = echo
    # No message of any type, an unknown field, and nothing.
    payloads = [b"\xff\xff\xff", bytes.fromhex("fa3e0568656c6c6f"), b""]
    async with reading_from(address) as channel:
        for payload in payloads:
            assert await channel.unary_unary(f"/{method}")(payload) == payload


async def test_the_reader_sends_the_token_of_the_database_and_not_the_one_it_got(echo):
    handler, address = echo
    async with reading_from(address, token="front", database_token="back") as channel:
        call = channel.unary_unary("/protocol.ContactReader/GetContact")
        await call(b"", metadata=metadata_of("front"))
        assert handler.metadata["authorization"] == "Bearer back"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=metadata_of("back"))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(channel.unary_stream("/cqrs.ReadService/WatchNotices")(b"")))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INTERNAL,
    ],
)
async def test_the_reader_passes_a_status_and_its_details_on_unchanged(database, address, code):
    database.fails = (code, "the disk is full")
    async with reading_from(address) as channel:
        for call in (
            channel.unary_unary("/cqrs.ReadService/Read")(b""),
            channel.unary_stream("/cqrs.ReadService/WatchNotices")(b"").read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert (raised.value.code(), raised.value.details()) == (code, "the disk is full")


async def test_the_database_gets_the_deadline_of_the_caller_and_no_more_than_the_readers(database, address):
    async with reading_from(address, deadline=3.0) as channel:
        call = channel.unary_unary("/cqrs.ReadService/Read")
        for timeout in (1.0, 60.0, None):
            await call(b"", timeout=timeout)
    short, capped, default = database.left
    # Rounded up on the way.
    assert 0.5 < short <= 1.1
    assert 2.5 < capped <= 3.1
    assert 2.5 < default <= 3.1


async def test_the_reader_says_in_one_line_that_the_database_is_away(unused_address, caplog):
    caplog.set_level(logging.INFO, "cqrs.query.reader")
    async with reading_from(unused_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/cqrs.ReadService/Read")(b"", timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == f"the database service at {unused_address} is away"
        assert caplog.messages == [f"waiting for the database service at {unused_address}"]


async def test_the_reader_starts_before_the_database(store, unused_address, caplog):
    caplog.set_level(logging.INFO, "cqrs.query.reader")
    async with ReaderServer("127.0.0.1:0", unused_address).serving() as port, ReadClient(f"127.0.0.1:{port}") as client:
        read = asyncio.create_task(client.get("contact", "c1", timeout=10))
        await until(lambda: "waiting" in caplog.text)
        async with served(FullDatabase(store), unused_address):
            assert (await read).name == "name 1"
            await until(lambda: f"connected to the database service at {unused_address}" in caplog.messages)


async def test_a_client_is_told_which_of_the_two_is_away(unused_address):
    async with (
        ReaderServer("127.0.0.1:0", unused_address).serving() as port,
        ReadClient(f"127.0.0.1:{port}", deadline=0.5) as client,
    ):
        with pytest.raises(ReaderUnavailable, match=f"the database service at {unused_address} is away"):
            await client.get("contact", "c1")


async def test_watchers_are_bounded_and_make_room_when_they_leave(store, address):
    async with (
        ReaderServer("127.0.0.1:0", address, max_watchers=2).serving() as port,
        ReadClient(f"127.0.0.1:{port}") as client,
    ):
        watches = [client.watch_notices("") for _ in range(3)]
        await anext(watches[0])
        await anext(watches[1])
        with pytest.raises(ReaderUnavailable, match="RESOURCE_EXHAUSTED: 2 watch already"):
            await anext(watches[2])
        await watches[0].aclose()
        await until(lambda: store.watchers == 1)
        again = client.watch_notices("")
        await anext(again)
        await again.aclose()
        await watches[1].aclose()


async def test_calls_are_bounded(database, address):
    database.gate.clear()
    async with reading_from(address, max_calls=2) as channel:
        call = channel.unary_unary("/cqrs.ReadService/Read")
        under_way = [asyncio.ensure_future(call(b"")) for _ in range(2)]
        await until(lambda: len(database.calls) == 2)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(b"")
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        database.gate.set()
        await asyncio.gather(*under_way)


async def test_a_reader_that_stops_ends_streams_well_and_at_once(store, address):
    async with contextlib.AsyncExitStack() as reader:
        port = await reader.enter_async_context(ReaderServer("127.0.0.1:0", address).serving())
        async with ReadClient(f"127.0.0.1:{port}") as client:
            batches = client.watch_notices("")
            await anext(batches)
            async with asyncio.timeout(3):
                await reader.aclose()
                with pytest.raises(StopAsyncIteration):
                    await anext(batches)
    await until(lambda: store.watchers == 0)


async def test_a_call_that_is_left_ends_at_the_database(database, address):
    database.gate.clear()
    async with reading_from(address) as channel:
        call = channel.unary_unary("/cqrs.ReadService/Read")(b"")
        await until(lambda: database.calls)
        call.cancel()
        await until(lambda: database.abandoned == 1)


async def test_the_reader_is_healthy_by_its_names_and_reflects_its_services(address):
    async with ReaderServer("127.0.0.1:0", address, contracts=[CONTRACT]).serving() as port:
        assert await is_healthy(f"127.0.0.1:{port}", "cqrs.ReadService")
        assert await is_healthy(f"127.0.0.1:{port}", "protocol.ContactReader")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(service=""))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            await reflection.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = {service.name for service in (await reflection.read()).list_services_response.service}
            assert {"cqrs.ReadService", "protocol.ContactReader"} <= listed
            reflection.cancel()


async def test_two_readers_cannot_share_a_port(address):
    async with ReaderServer("127.0.0.1:0", address).serving() as port:
        with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{port} \(Address already in use\)"):
            async with ReaderServer(f"127.0.0.1:{port}", address).serving():
                pass


async def test_an_address_that_is_none_is_a_clear_error(address):
    with pytest.raises(StartError, match=r"cannot listen on nonsense \(it must be host:port"):
        async with ReaderServer("nonsense", address).serving():
            pass


async def test_a_client_with_a_wrong_token_is_told(address):
    async with ReaderServer("127.0.0.1:0", address, token="right").serving() as port:
        async with ReadClient(f"127.0.0.1:{port}", token="right") as client:
            assert (await client.get("contact", "c1")).name == "name 1"
        async with ReadClient(f"127.0.0.1:{port}", token="wrong") as client:
            with pytest.raises(ReaderUnavailable, match=r"cqrs\.ReadService needs its token"):
                await client.get("contact", "c1")
            with pytest.raises(ReaderUnavailable, match=r"cqrs\.ReadService needs its token"):
                await anext(client.watch_notices(""))
