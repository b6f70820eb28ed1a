"""The database service on the wire: the contract's RPCs as the Go example answers them, and the extensions."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cqrs.store import batch_reads, command_writer, notices, services, unit_of_work, watch
from cqrs.store.server import DatabaseServer
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.process import StartError
from database_service.go_contract import GO_CONTRACT
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_read_pb2 import ListContactsFilter
from protocol.contact_read_pb2_grpc import ContactReaderStub
from protocol.contact_write_pb2_grpc import ContactWriterStub
from protocol.cqrs_command_pb2 import CommandBatch
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.cqrs_read_pb2 import Key, NoticesRequest, OutcomesRequest, Page, ReadRequest, WatchRequest
from protocol.cqrs_read_pb2_grpc import ReadServiceStub
from protocol.cqrs_write_pb2 import Malformed, MalformedBatch, Recorded
from protocol.cqrs_write_pb2_grpc import WriteServiceStub
from tests.support.envelopes import add, contact_of, id_of, meta, name_of, update

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

SOON = 10


class Database(NamedTuple):
    """Stubs of a database service, of the Go contract and of the kit, and its address."""

    contract_read: Any
    contract_write: Any
    read: Any
    write: Any
    address: str


@asynccontextmanager
async def serving(serve: str = "all", **settings: Any) -> AsyncIterator[Database]:
    async with DatabaseServer("127.0.0.1:0", serve, contract=GO_CONTRACT, **settings).serving() as port:
        address = f"127.0.0.1:{port}"
        async with open_channel(address) as channel:
            stubs = (ContactReaderStub, ContactWriterStub, ReadServiceStub, WriteServiceStub)
            yield Database(*(stub(channel) for stub in stubs), address)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with serving() as database:
        yield database


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def refusal(code: grpc.StatusCode) -> AsyncIterator[list[str]]:
    """Expects the call within to fail so; yields a list that holds the details after."""
    details: list[str] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield details
    assert caught.value.code() is code, caught.value.details()
    details.append(caught.value.details() or "")


# The contract


async def test_the_contract_adds_lists_updates_and_deletes(database: Database):
    answer = await database.contract_write.AddContact(Contact(name="Ada"))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact added")
    (ada,) = (await database.contract_read.ListContacts(ListContactsFilter(count=10))).contact
    assert ada.name == "Ada"
    assert abs(ada.last_updated.seconds - time.time()) < 60

    answer = await database.contract_write.UpdateContact(Contact(id=ada.id, name="Grace"))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact updated")
    found = await database.contract_read.GetContact(ContactReference(id=ada.id))
    assert (found.response.status, found.contact.name, found.contact.version) == (RequestResponse.OK, "Grace", 2)

    answer = await database.contract_write.DeleteContact(ContactReference(id=ada.id))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact deleted")
    assert not (await database.contract_read.ListContacts(ListContactsFilter(count=10))).contact


async def test_a_missing_contact_is_an_error_inside_an_answer_that_is_ok(database: Database):
    found = await database.contract_read.GetContact(ContactReference(id="nobody"))
    assert (found.response.status, found.response.Message) == (RequestResponse.ERROR, "user with id nobody not found")
    assert not found.HasField("contact")
    for call, request in (
        (database.contract_write.UpdateContact, Contact(id="nobody", name="Ada")),
        (database.contract_write.DeleteContact, ContactReference(id="nobody")),
    ):
        answer = await call(request)
        assert (answer.status, answer.Message) == (RequestResponse.ERROR, "user with id nobody not found")


async def test_bad_input_is_an_error_inside_an_answer_that_is_ok(database: Database):
    answer = await database.contract_write.AddContact(Contact(name="  "))
    assert (answer.status, answer.Message) == (RequestResponse.ERROR, "name must not be empty")
    found = await database.contract_read.GetContact(ContactReference(id="?" * 10_000))
    assert found.response.status == RequestResponse.ERROR
    assert len(found.response.Message) < 200
    for count in (-1, 1001):
        listed = await database.contract_read.ListContacts(ListContactsFilter(count=count))
        assert (listed.response.status, listed.response.Message) == (
            RequestResponse.ERROR,
            f"count must be 0 to 1000, not {count}",
        )


async def test_contacts_are_listed_in_the_order_they_were_added(database: Database):
    names = [f"contact {number}" for number in range(12)]
    for name in names:
        await database.contract_write.AddContact(Contact(name=name))
    for count in (0, 1, 5, 12, 1000):
        listed = await database.contract_read.ListContacts(ListContactsFilter(count=count))
        assert listed.response.status == RequestResponse.OK
        assert [contact.name for contact in listed.contact] == names[:count]


async def test_a_command_that_is_repeated_through_the_contract_is_answered_as_the_first_time(database: Database):
    added = Contact(name="Ada", meta=meta("one"))
    refused = ContactReference(id="nobody", meta=meta("two"))
    first = await database.contract_write.AddContact(added), await database.contract_write.DeleteContact(refused)
    again = await database.contract_write.AddContact(added), await database.contract_write.DeleteContact(refused)
    assert first == again
    assert len((await database.contract_read.ListContacts(ListContactsFilter(count=10))).contact) == 1


async def test_order_and_cancels_work_through_the_contract(database: Database):
    update_ada = Contact(id="ada", name="Grace", meta=meta("two", depends_on="one"))
    answer = await database.contract_write.UpdateContact(update_ada)
    assert answer.status == RequestResponse.ERROR
    assert "one" in answer.Message
    await database.contract_write.AddContact(Contact(id="ada", name="Ada", meta=meta("one")))
    assert (await database.contract_write.UpdateContact(update_ada)).status == RequestResponse.OK
    answer = await database.contract_write.DeleteContact(ContactReference(id="ada", meta=meta("three", cancelled=True)))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Cancelled")


# Extensions


async def test_apply_names_the_deferred_commands(database: Database):
    first = add()
    later = update(contact_of(first), depends_on=id_of(first))
    assert list((await database.write.Apply(CommandBatch(command=[later]))).deferred) == [id_of(later)]
    assert not (await database.write.Apply(CommandBatch(command=[later, first]))).deferred
    assert not (await database.write.Apply(CommandBatch())).deferred


async def test_each_of_concurrent_batches_gets_its_own_deferred_ids(database: Database):
    lost = [update("ada", depends_on="unknown") for _ in range(20)]
    replies = await asyncio.gather(
        *(database.write.Apply(CommandBatch(command=[add(), command])) for command in lost),
    )
    assert [list(reply.deferred) for reply in replies] == [[id_of(command)] for command in lost]
    assert len((await database.contract_read.ListContacts(ListContactsFilter(count=100))).contact) == 20


def one(aggregate_id: str, aggregate: str = "contact") -> Key:
    return Key(aggregate=aggregate, id=aggregate_id)


def first(count: int) -> Key:
    return Key(aggregate="contact", page=Page(count=count))


async def test_read_answers_each_key_in_order(database: Database):
    ada, grace = add("Ada"), add("Grace")
    await database.write.Apply(CommandBatch(command=[ada, grace]))
    keys = [one(contact_of(grace)), one("nobody"), first(2), one(contact_of(ada)), first(0), first(1), first(-1)]
    reply = await database.read.Read(ReadRequest(key=keys))
    assert [[name_of(state) for state in answer.state] for answer in reply.answer] == [
        ["Grace"],
        [],
        ["Ada", "Grace"],
        ["Ada"],
        [],
        ["Ada"],
        [],
    ]
    assert [answer.error for answer in reply.answer] == [""] * 6 + ["count must be 0 to 1000, not -1"]


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (one("a\0b"), "id must be 1 to 100 letters"),
        (one(""), "id must not be empty"),
        (one("?" * 10_000), "id must be 1 to 100 letters"),
        (one("x", "frob\0"), "there is no aggregate frob\0"),
        (one("x", "f" * 1000), f"there is no aggregate {'f' * 100}"),
        (Key(aggregate="contact"), "a key asks for an id or for a page"),
    ],
)
async def test_a_wrong_key_is_answered_with_a_sentence_and_the_others_as_ever(database: Database, key: Key, error: str):
    ada = add("Ada")
    await database.write.Apply(CommandBatch(command=[ada]))
    reply = await database.read.Read(ReadRequest(key=[key, one(contact_of(ada))]))
    assert reply.answer[0].error.startswith(error)
    assert len(reply.answer[0].error) < 200
    assert [name_of(state) for state in reply.answer[1].state] == ["Ada"]


async def test_answers_that_no_message_holds_are_errors_and_the_first_of_them_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_reads, "MAX_STATES", 100)
    await database.write.Apply(CommandBatch(command=[add("Ada"), add("Grace")]))
    reply = await database.read.Read(ReadRequest(key=[first(1), first(2)]))
    assert [len(answer.state) for answer in reply.answer] == [1, 0]
    assert [answer.error for answer in reply.answer] == ["", "the answers exceed 100 bytes: ask for fewer at once"]


@pytest.mark.parametrize(
    "request_",
    [ReadRequest(key=[one("x")] * 1001), ReadRequest(key=[first(1000)] * 5)],
    ids=["keys", "states"],
)
async def test_a_read_of_too_much_is_refused(database: Database, request_: ReadRequest):
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT) as details:
        await database.read.Read(request_)
    assert "at most 1000 keys for 4000 states" in details[0]


async def test_outcomes_leave_out_what_is_unknown(database: Database):
    known = add()
    await database.write.Apply(CommandBatch(command=[known]))
    batch = await database.read.GetOutcomes(OutcomesRequest(command_id=[id_of(known), "unknown", "a\0b"]))
    assert [(notice.command_id, notice.kind) for notice in batch.notice] == [(id_of(known), Notice.ADDED)]
    assert batch.database
    assert not batch.memory
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT):
        await database.read.GetOutcomes(OutcomesRequest(command_id=["x"] * 1001))


async def test_notices_are_read_by_position(database: Database):
    await database.write.Apply(CommandBatch(command=[add() for _ in range(5)]))
    batch = await database.read.ReadNotices(NoticesRequest(after="0", limit=3))
    rest = await database.read.ReadNotices(NoticesRequest(after=batch.notice[-1].position, limit=1000))
    assert [notice.number for notice in [*batch.notice, *rest.notice]] == [1, 2, 3, 4, 5]
    assert rest.head == rest.notice[-1].position


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (NoticesRequest(after="", limit=1), grpc.StatusCode.INVALID_ARGUMENT),
        (NoticesRequest(after="nonsense", limit=1), grpc.StatusCode.INVALID_ARGUMENT),
        (NoticesRequest(after="0", limit=0), grpc.StatusCode.INVALID_ARGUMENT),
        (NoticesRequest(after="0", limit=1001), grpc.StatusCode.INVALID_ARGUMENT),
        (NoticesRequest(after="1.000000000000", limit=1), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_bad_positions_and_limits_are_refused(
    database: Database, request_: NoticesRequest, code: grpc.StatusCode
):
    await database.write.Apply(CommandBatch(command=[add()]))
    async with refusal(code):
        await database.read.ReadNotices(request_)
    if request_.after and request_.limit == 1:
        async with refusal(code):
            await anext(aiter(database.read.WatchNotices(WatchRequest(after=request_.after))))


async def test_malformed_messages_are_recorded(database: Database):
    its = Malformed(topic="CONTACT/ADD", payload=b"\xff", reason="no Contact")
    its.received_at.seconds = 2**62
    assert await database.write.RecordMalformed(MalformedBatch(message=[its])) == Recorded()


# Watching


class Watcher:
    """Collects what one stream brings."""

    def __init__(self, database: Database, after: str) -> None:
        self.batches: list[NoticeBatch] = []
        self.call = database.read.WatchNotices(WatchRequest(after=after))
        self.task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for brought in self.call:
            self.batches.append(brought)

    @property
    def notices(self) -> list[Notice]:
        return [notice for batch in self.batches for notice in batch.notice]

    async def seen(self, count: int) -> None:
        await until(lambda: len(self.notices) >= count or self.task.done())

    async def __aenter__(self) -> "Watcher":
        await until(lambda: self.batches or self.task.done())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.call.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_the_first_batch_comes_at_once_even_if_empty(database: Database):
    for after in ("0", ""):
        async with Watcher(database, after) as watcher:
            (batch,) = watcher.batches
            assert (list(batch.notice), batch.head, batch.memory) == ([], "0", False)
            assert batch.database


async def test_who_watches_gets_what_was_and_then_what_comes_without_gap_or_repeat(database: Database):
    await database.write.Apply(CommandBatch(command=[add() for _ in range(1200)]))
    async with Watcher(database, "0") as watcher:
        for _ in range(20):
            await database.write.Apply(CommandBatch(command=[add() for _ in range(7)]))
        await watcher.seen(1340)
        assert [notice.number for notice in watcher.notices] == list(range(1, 1341))
        assert max(len(batch.notice) for batch in watcher.batches) == 500
        head = watcher.notices[-1].position
        assert watcher.batches[-1].head == head
    async with Watcher(database, watcher.notices[99].position) as second:
        await second.seen(1240)
        assert [notice.number for notice in second.notices] == list(range(101, 1341))
    async with Watcher(database, "") as third:
        await database.write.Apply(CommandBatch(command=[add()]))
        await third.seen(1)
        assert [notice.number for notice in third.notices] == [1341]


async def test_many_watch_and_each_gets_all(database: Database):
    watchers = [Watcher(database, "") for _ in range(50)]
    for watcher in watchers:
        await watcher.__aenter__()
    commands = [add() for _ in range(300)]
    for command in commands:
        await database.write.Apply(CommandBatch(command=[command]))
    for watcher in watchers:
        await watcher.seen(300)
        assert [notice.command_id for notice in watcher.notices] == [id_of(command) for command in commands]
        await watcher.__aexit__()


async def test_a_commit_of_this_process_is_seen_without_asking_the_database(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services, "SELDOM", 3600)
    async with serving() as database, Watcher(database, "") as watcher:
        # Follows from here on: what comes now is not found by asking any more.
        await database.write.Apply(CommandBatch(command=[add()]))
        await watcher.seen(1)
        await database.write.Apply(CommandBatch(command=[add()]))
        await watcher.seen(2)
        assert [notice.number for notice in watcher.notices] == [1, 2]


async def test_what_another_process_committed_is_asked_for_once_a_commit_of_this_one_shows_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(services, "SELDOM", 3600)
    async with serving() as database, serving() as other, Watcher(database, "") as watcher:
        await database.write.Apply(CommandBatch(command=[add()]))
        await watcher.seen(1)
        await other.write.Apply(CommandBatch(command=[add()]))
        await database.write.Apply(CommandBatch(command=[add()]))
        await watcher.seen(3)
        assert [notice.number for notice in watcher.notices] == [1, 2, 3]


async def test_the_halves_work_as_two_servers_on_one_database():
    async with serving("read") as reads, serving("write") as writes:
        async with Watcher(reads, "0") as watcher:
            first = add()
            await writes.write.Apply(CommandBatch(command=[first]))
            await watcher.seen(1)
            assert watcher.notices[0].command_id == id_of(first)
        async with refusal(grpc.StatusCode.UNIMPLEMENTED):
            await reads.contract_write.AddContact(Contact(name="Ada"))
        async with refusal(grpc.StatusCode.UNIMPLEMENTED):
            await writes.contract_read.GetContact(ContactReference(id="ada"))


async def test_watchers_are_bounded_and_give_their_place_back(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "MOST_WATCHERS", 2)
    async with Watcher(database, "0"), Watcher(database, "0"), refusal(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await anext(aiter(database.read.WatchNotices(WatchRequest(after="0"))))
    deadline = time.monotonic() + SOON
    while True:
        async with Watcher(database, "0") as watcher:
            if watcher.batches:
                break
        assert time.monotonic() < deadline


async def test_a_stop_ends_the_streams_at_once():
    async with serving() as database:
        watcher = Watcher(database, "0")
        await until(lambda: watcher.batches)
        started = time.monotonic()
    await asyncio.wait_for(asyncio.gather(watcher.task, return_exceptions=True), SOON)
    assert time.monotonic() - started < 3, "the grace of 5 s was not needed"


# Trouble


async def test_a_database_in_trouble_is_unavailable_and_nothing_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    command = add()
    with monkeypatch.context() as trouble:
        trouble.setattr(unit_of_work.UnitOfWork, "write", lambda self: self._cursor.execute("SELECT * FROM nowhere"))
        for _ in range(3):
            async with refusal(grpc.StatusCode.UNAVAILABLE) as details:
                await database.write.Apply(CommandBatch(command=[command]))
            assert "nowhere" in details[0]
    said = [record.message for record in caplog.records if "cannot be used" in record.message]
    assert len(said) == 1, "one line for one outage"
    await database.write.Apply(CommandBatch(command=[command]))
    found = await database.contract_read.GetContact(ContactReference(id=contact_of(command)))
    assert found.response.status == RequestResponse.OK


def _fail(*_arguments: object, **_options: object) -> None:
    raise ZeroDivisionError("a planted defect")


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("watch notices", (notices, "since")),
        ("apply commands", (command_writer.CommandWriter, "_join")),
        ("retry parked commands", (command_writer, "retry_parked")),
        ("prune notices", (notices, "prune")),
    ],
)
async def test_a_task_that_dies_by_a_defect_ends_the_service_with_a_critical_line(
    task: str, target: tuple[Any, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    _fail.__name__ = target[1]
    monkeypatch.setattr(*target, _fail)

    async def serve() -> None:
        async with serving() as database:
            # Each of the tasks has something to do.
            watching = database.read.WatchNotices(WatchRequest(after="0"))
            applying = database.write.Apply(CommandBatch(command=[add()]))
            await asyncio.gather(anext(aiter(watching)), applying, return_exceptions=True)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(serve(), SOON)
    assert ended.group_contains(ZeroDivisionError, match="a planted defect")
    critical = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert critical == [f"the service ends: it cannot {task} any more"]


async def test_parked_commands_are_retried_by_the_service(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_writer, "_RETRY_EVERY", 0.01)
    command = add("Ada")
    later = update(contact_of(command), "Grace", depends_on=id_of(command))
    broken = [True]
    decide = unit_of_work.decide

    def failing(state: Any, its: Any) -> Any:
        if broken and id_of(its) == id_of(command):
            raise ZeroDivisionError
        return decide(state, its)

    monkeypatch.setattr(unit_of_work, "decide", failing)
    async with serving() as database, Watcher(database, "0") as watcher:
        await database.write.Apply(CommandBatch(command=[command, later]))
        await watcher.seen(2)
        broken.clear()
        await watcher.seen(4)
        kinds = [notice.kind for notice in watcher.notices]
    assert kinds == [Notice.PARKED, Notice.PARKED, Notice.ADDED, Notice.UPDATED]


# Around the services


async def test_tokens_guard_each_service_for_itself():
    async with serving(read_token="r", write_token="w") as database:
        request = ContactReference(id="ada")
        reads = [(database.contract_read.GetContact, request), (database.read.Read, ReadRequest())]
        writes = [(database.contract_write.DeleteContact, request), (database.write.Apply, CommandBatch())]
        for calls, right, wrong in ((reads, "r", "w"), (writes, "w", "r")):
            for call, argument in calls:
                await call(argument, metadata=metadata_of(right))
                async with refusal(grpc.StatusCode.UNAUTHENTICATED):
                    await call(argument, metadata=metadata_of(wrong))


async def test_health_and_reflection_name_the_services_that_are_served():
    async with serving("read") as database, open_channel(database.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "protocol.ContactReader", "cqrs.ReadService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for service in ("protocol.ContactWriter", "cqrs.WriteService"):
            async with refusal(grpc.StatusCode.NOT_FOUND):
                await health.Check(health_pb2.HealthCheckRequest(service=service))
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in reflection.ServerReflectionInfo(iter([asked])):
            names = [service.name for service in answer.list_services_response.service]
            assert {"protocol.ContactReader", "cqrs.ReadService"} <= set(names)
            assert not {"protocol.ContactWriter", "cqrs.WriteService"} & set(names)


async def test_a_port_in_use_is_said_in_one_line(database: Database):
    with pytest.raises(StartError, match=r"cannot listen on .* \(Address already in use\)"):
        async with DatabaseServer(database.address).serving():
            pass
