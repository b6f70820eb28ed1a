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

from cqrs.store import command_writer, notices, server, unit_of_work, watch
from cqrs.store.server import DatabaseServer
from cqrs.transport.credentials import metadata_of
from cqrs.transport.grpc_channel import open_channel
from cqrs.transport.process import StartError
from protocol.contact_pb2 import Contact, ContactReference, RequestResponse
from protocol.contact_read_pb2 import ListContactsFilter, NoticesRequest, OutcomesRequest, ReadRequest, WatchRequest
from protocol.contact_read_pb2_grpc import ContactReaderStub
from protocol.contact_write_pb2 import CommandBatch, Undecodable, UndecodableBatch
from protocol.contact_write_pb2_grpc import ContactWriterStub
from protocol.notice_pb2 import Notice, NoticeBatch
from tests.support.factories import add, contact_of, id_of, meta, update

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

SOON = 10


class Database(NamedTuple):
    """Stubs of a database service, and its address."""

    read: Any
    write: Any
    address: str


@asynccontextmanager
async def serving(serve: str = "all", **settings: Any) -> AsyncIterator[Database]:
    async with DatabaseServer("127.0.0.1:0", serve, **settings).serving() as port:
        address = f"127.0.0.1:{port}"
        async with open_channel(address) as channel:
            yield Database(ContactReaderStub(channel), ContactWriterStub(channel), address)


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
    answer = await database.write.AddContact(Contact(name="Ada"))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact added")
    (ada,) = (await database.read.ListContacts(ListContactsFilter(count=10))).contact
    assert ada.name == "Ada"
    assert abs(ada.last_updated.seconds - time.time()) < 60

    answer = await database.write.UpdateContact(Contact(id=ada.id, name="Grace"))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact updated")
    found = await database.read.GetContact(ContactReference(id=ada.id))
    assert (found.response.status, found.contact.name, found.contact.version) == (RequestResponse.OK, "Grace", 2)

    answer = await database.write.DeleteContact(ContactReference(id=ada.id))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Contact deleted")
    assert not (await database.read.ListContacts(ListContactsFilter(count=10))).contact


async def test_a_missing_contact_is_an_error_inside_an_answer_that_is_ok(database: Database):
    found = await database.read.GetContact(ContactReference(id="nobody"))
    assert (found.response.status, found.response.Message) == (RequestResponse.ERROR, "user with id nobody not found")
    assert not found.HasField("contact")
    for call, request in (
        (database.write.UpdateContact, Contact(id="nobody", name="Ada")),
        (database.write.DeleteContact, ContactReference(id="nobody")),
    ):
        answer = await call(request)
        assert (answer.status, answer.Message) == (RequestResponse.ERROR, "user with id nobody not found")


async def test_bad_input_is_an_error_inside_an_answer_that_is_ok(database: Database):
    answer = await database.write.AddContact(Contact(name="  "))
    assert (answer.status, answer.Message) == (RequestResponse.ERROR, "name must not be empty")
    found = await database.read.GetContact(ContactReference(id="?" * 10_000))
    assert found.response.status == RequestResponse.ERROR
    assert len(found.response.Message) < 200
    for count in (-1, 1001):
        listed = await database.read.ListContacts(ListContactsFilter(count=count))
        assert (listed.response.status, listed.response.Message) == (
            RequestResponse.ERROR,
            f"count must be 0 to 1000, not {count}",
        )


async def test_contacts_are_listed_in_the_order_they_were_added(database: Database):
    names = [f"contact {number}" for number in range(12)]
    for name in names:
        await database.write.AddContact(Contact(name=name))
    for count in (0, 1, 5, 12, 1000):
        listed = await database.read.ListContacts(ListContactsFilter(count=count))
        assert listed.response.status == RequestResponse.OK
        assert [contact.name for contact in listed.contact] == names[:count]


async def test_a_command_that_is_repeated_through_the_contract_is_answered_as_the_first_time(database: Database):
    added = Contact(name="Ada", meta=meta("one"))
    refused = ContactReference(id="nobody", meta=meta("two"))
    first = await database.write.AddContact(added), await database.write.DeleteContact(refused)
    again = await database.write.AddContact(added), await database.write.DeleteContact(refused)
    assert first == again
    assert len((await database.read.ListContacts(ListContactsFilter(count=10))).contact) == 1


async def test_order_and_cancels_work_through_the_contract(database: Database):
    update_ada = Contact(id="ada", name="Grace", meta=meta("two", depends_on="one"))
    answer = await database.write.UpdateContact(update_ada)
    assert answer.status == RequestResponse.ERROR
    assert "one" in answer.Message
    await database.write.AddContact(Contact(id="ada", name="Ada", meta=meta("one")))
    assert (await database.write.UpdateContact(update_ada)).status == RequestResponse.OK
    answer = await database.write.DeleteContact(ContactReference(id="ada", meta=meta("three", cancelled=True)))
    assert (answer.status, answer.Message) == (RequestResponse.OK, "Cancelled")


# Extensions


async def test_apply_says_what_it_left(database: Database):
    first = add()
    later = update(contact_of(first), depends_on=id_of(first))
    assert list((await database.write.Apply(CommandBatch(command=[later]))).left) == [id_of(later)]
    assert not (await database.write.Apply(CommandBatch(command=[later, first]))).left
    assert not (await database.write.Apply(CommandBatch())).left


async def test_concurrent_batches_are_each_told_what_they_left(database: Database):
    lost = [update("ada", depends_on="unknown") for _ in range(20)]
    replies = await asyncio.gather(
        *(database.write.Apply(CommandBatch(command=[add(), command])) for command in lost),
    )
    assert [list(reply.left) for reply in replies] == [[id_of(command)] for command in lost]
    assert len((await database.read.ListContacts(ListContactsFilter(count=100))).contact) == 20


async def test_read_answers_each_question_in_order(database: Database):
    first, second = add("Ada"), add("Grace")
    await database.write.Apply(CommandBatch(command=[first, second]))
    asked = [contact_of(second), "nobody", contact_of(first), contact_of(second)]
    reply = await database.read.Read(ReadRequest(contact_id=asked, list_count=[2, 0, 1, -1]))
    assert [answer.contact.name for answer in reply.contact] == ["Grace", "", "Ada", "Grace"]
    assert [answer.response.status for answer in reply.contact] == [
        RequestResponse.OK,
        RequestResponse.ERROR,
        RequestResponse.OK,
        RequestResponse.OK,
    ]
    assert [[contact.name for contact in answer.contact] for answer in reply.list] == [
        ["Ada", "Grace"],
        [],
        ["Ada"],
        [],
    ]
    assert [answer.response.status for answer in reply.list] == [
        RequestResponse.OK,
        RequestResponse.OK,
        RequestResponse.OK,
        RequestResponse.ERROR,
    ]


@pytest.mark.parametrize(
    "request_",
    [ReadRequest(contact_id=["x"] * 1001), ReadRequest(list_count=[1000] * 5)],
    ids=["questions", "contacts"],
)
async def test_a_read_of_too_much_is_refused(database: Database, request_: ReadRequest):
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT) as details:
        await database.read.Read(request_)
    assert "at most 1000 questions for 4000 contacts" in details[0]


async def test_outcomes_leave_out_what_is_unknown(database: Database):
    known = add()
    await database.write.Apply(CommandBatch(command=[known]))
    batch = await database.read.GetOutcomes(OutcomesRequest(command_id=[id_of(known), "unknown"]))
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


async def test_undecodable_messages_are_recorded(database: Database):
    answer = await database.write.RecordUndecodable(
        UndecodableBatch(undecodable=[Undecodable(topic="CONTACT/ADD", payload=b"\xff", reason="no Contact")])
    )
    assert answer.status == RequestResponse.OK


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
    monkeypatch.setattr(server, "SELDOM", 3600)
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
    monkeypatch.setattr(server, "SELDOM", 3600)
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
            await reads.write.AddContact(Contact(name="Ada"))
        async with refusal(grpc.StatusCode.UNIMPLEMENTED):
            await writes.read.GetContact(ContactReference(id="ada"))


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
        trouble.setattr(unit_of_work.Batch, "write", lambda self: self._cursor.execute("SELECT * FROM nowhere"))
        for _ in range(3):
            async with refusal(grpc.StatusCode.UNAVAILABLE) as details:
                await database.write.Apply(CommandBatch(command=[command]))
            assert "nowhere" in details[0]
    said = [record.message for record in caplog.records if "cannot be used" in record.message]
    assert len(said) == 1, "one line for one outage"
    await database.write.Apply(CommandBatch(command=[command]))
    found = await database.read.GetContact(ContactReference(id=contact_of(command)))
    assert found.response.status == RequestResponse.OK


async def test_a_defect_in_following_the_notices_is_told_to_who_watches(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with monkeypatch.context() as defect:
        defect.setattr(notices, "since", lambda number, limit: 1 / 0)
        async with refusal(grpc.StatusCode.UNAVAILABLE) as details:
            async for _ in database.read.WatchNotices(WatchRequest(after="0")):
                pass
        assert "the log says why" in details[0]
        assert "ZeroDivisionError" in caplog.text
    async with Watcher(database, "0") as watcher:
        await database.write.Apply(CommandBatch(command=[add()]))
        await watcher.seen(1)
        assert len(watcher.notices) == 1


async def test_parked_commands_are_retried_by_the_service(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_writer, "_RETRY_EVERY", 0.01)
    command = add("Ada")
    later = update(contact_of(command), "Grace", depends_on=id_of(command))
    broken = [True]
    decide = unit_of_work.decide

    def failing(contact: Contact | None, its: Any) -> Any:
        if broken and id_of(its) == id_of(command):
            raise ZeroDivisionError
        return decide(contact, its)

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
        await database.read.GetContact(request, metadata=metadata_of("r"))
        await database.write.DeleteContact(request, metadata=metadata_of("w"))
        for call, token in ((database.read.GetContact, "w"), (database.write.DeleteContact, "r")):
            async with refusal(grpc.StatusCode.UNAUTHENTICATED):
                await call(request, metadata=metadata_of(token))


async def test_health_and_reflection_name_the_services_that_are_served():
    async with serving("read") as database, open_channel(database.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "protocol.ContactReader"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        async with refusal(grpc.StatusCode.NOT_FOUND):
            await health.Check(health_pb2.HealthCheckRequest(service="protocol.ContactWriter"))
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in reflection.ServerReflectionInfo(iter([asked])):
            names = [service.name for service in answer.list_services_response.service]
            assert "protocol.ContactReader" in names
            assert "protocol.ContactWriter" not in names


async def test_a_port_in_use_is_said_in_one_line(database: Database):
    with pytest.raises(StartError, match=r"cannot listen on .*: is the port in use\?"):
        async with DatabaseServer(database.address).serving():
            pass
