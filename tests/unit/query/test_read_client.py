"""How the client gathers reads, and what it makes of a peer that knows only the contract; without a network."""

import asyncio
import logging

import pytest

from contacts_read.go_contract import ContractReads
from cqrs.query import batch_reader, batcher, client
from cqrs.query.connection import Connection
from cqrs.query.errors import ExtensionMissing, InvalidRead, ReadError, ReaderUnavailable
from cqrs.query.keys import ById
from protocol.contact_pb2 import Contact, RequestResponse
from protocol.contact_read_pb2 import ContactArrayRequestResponse, ContactRequestResponse
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.cqrs_read_pb2 import Answer, ReadReply
from tests.support.polling import eventually

MISSING = RequestResponse(status=RequestResponse.ERROR, Message="user with id none not found")


class FakeConnection(Connection):
    """Answers from `contacts`, once the call is let through. extended: knows more than the contract."""

    def __init__(self, address="fake:0", token=""):
        super().__init__(address, token)
        self.contacts = {}
        self.extended = True
        self.error = None
        self.calls = []
        self.under_way = 0
        self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_open = False

    def open(self):
        self.is_open = True

    async def close(self):
        self.is_open = False

    async def call(self, method, request, ends, *, positioned=False):
        method = method.name
        self.calls.append((method, request))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error
        if not self.extended and method not in ("GetContact", "ListContacts"):
            raise ExtensionMissing(f"{method} is not known")
        return getattr(self, method)(request)

    def Read(self, request):
        return ReadReply(answer=[self._answer(key) for key in request.key])

    def _answer(self, key):
        if key.aggregate != "contact":
            return Answer(error=f"there is no aggregate {key.aggregate}")
        if key.WhichOneof("what") == "id":
            found = [self.contacts[key.id]] if key.id in self.contacts else []
        else:
            found = list(self.contacts.values())[: key.page.count]
        return Answer(state=[contact.SerializeToString() for contact in found])

    def GetContact(self, request):
        return self._contact(request.id)

    def ListContacts(self, request):
        return self._list(request.count)

    def GetOutcomes(self, request):
        return NoticeBatch(notice=[Notice(command_id=each) for each in request.command_id if each.startswith("known")])

    def _contact(self, contact_id):
        contact = self.contacts.get(contact_id)
        return ContactRequestResponse(contact=contact) if contact else ContactRequestResponse(response=MISSING)

    def _list(self, count):
        return ContactArrayRequestResponse(contact=list(self.contacts.values())[:count])

    def methods(self):
        return [method for method, _ in self.calls]


@pytest.fixture
def connection(monkeypatch):
    made = FakeConnection()
    made.contacts = {f"c{number}": Contact(id=f"c{number}", name=f"name {number}") for number in range(20)}
    monkeypatch.setattr(client, "Connection", lambda *_: made)
    return made


@pytest.fixture
async def reader(connection):
    async with client.ReadClient("fake:0", fallback=ContractReads()) as opened:
        yield opened


def ids_of(request):
    return [key.id for key in request.key if key.WhichOneof("what") == "id"]


def counts_of(request):
    return [key.page.count for key in request.key if key.WhichOneof("what") == "page"]


async def turns(count=10):
    """Lets the loop run so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_reads_of_one_moment_are_one_call(reader, connection):
    one, two, ten, none = await asyncio.gather(
        reader.get("contact", "c1"),
        reader.get("contact", "c2"),
        reader.first("contact", 10),
        reader.get("contact", "none"),
    )
    assert (one.name, two.name, len(ten), none) == ("name 1", "name 2", 10, None)
    assert connection.methods() == ["Read"]


async def test_the_same_key_is_read_once(reader, connection):
    contacts = await asyncio.gather(*(reader.get("contact", "c1") for _ in range(50)), reader.first("contact", 3))
    assert {contact.name for contact in contacts[:50]} == {"name 1"}
    _, request = connection.calls[0]
    assert ids_of(request) == ["c1"]
    assert counts_of(request) == [3]


async def test_one_call_is_under_way_and_what_waits_goes_with_the_next(reader, connection, monkeypatch):
    monkeypatch.setattr(batcher, "SLOW", 60)
    connection.gate.clear()
    reads = []
    for number in range(20):
        reads.append(asyncio.create_task(reader.get("contact", f"c{number}")))
        await turns()
    connection.gate.set()
    await asyncio.gather(*reads)
    assert connection.most_under_way == 1
    assert [len(ids_of(request)) for _, request in connection.calls] == [1, 19]


async def test_when_enough_waits_a_second_call_is_sent(reader, connection, monkeypatch):
    monkeypatch.setattr(batcher, "SLOW", 60)
    connection.gate.clear()
    reads = [asyncio.create_task(reader.get("contact", "c0"))]
    await turns()
    reads += [asyncio.create_task(reader.get("contact", f"c{number}")) for number in range(1, batcher.ENOUGH)]
    await turns()
    assert len(connection.calls) == 1
    reads.append(asyncio.create_task(reader.get("contact", "another")))
    await turns()
    assert [len(ids_of(request)) for _, request in connection.calls] == [1, batcher.ENOUGH]
    connection.gate.set()
    await asyncio.gather(*reads)


async def test_a_slow_call_holds_up_no_other_and_two_are_the_most(reader, connection, monkeypatch):
    monkeypatch.setattr(batcher, "SLOW", 0)
    connection.gate.clear()
    reads = []
    for number in range(20):
        reads.append(asyncio.create_task(reader.get("contact", f"c{number}")))
        await turns()
    assert len(connection.calls) == 2
    connection.gate.set()
    await asyncio.gather(*reads)
    assert connection.most_under_way == 2
    assert [len(ids_of(request)) for _, request in connection.calls] == [1, 1, 18]


async def test_a_read_never_joins_a_call_that_is_sent(reader, connection):
    """What was written since may be missing from its answer."""
    connection.gate.clear()
    before = asyncio.create_task(reader.get("contact", "c1"))
    await turns()
    old_answer = connection.Read
    stale = old_answer(connection.calls[0][1])
    connection.contacts["c1"] = Contact(id="c1", name="written meanwhile")
    connection.Read = lambda request: stale if request is connection.calls[0][1] else old_answer(request)
    after = asyncio.create_task(reader.get("contact", "c1"))
    await turns()
    connection.gate.set()
    assert (await before).name == "name 1"
    assert (await after).name == "written meanwhile"


async def test_batches_are_bounded_by_keys_and_by_states(reader, connection):
    await asyncio.gather(*(reader.get("contact", f"id{number}") for number in range(450)))
    assert [len(ids_of(request)) for _, request in connection.calls] == [200, 200, 50]
    assert connection.most_under_way == 2
    connection.calls.clear()
    await asyncio.gather(*(reader.first("contact", 1000 - number) for number in range(6)))
    assert [counts_of(request) for _, request in connection.calls] == [[1000, 999, 998], [997, 996, 995]]


async def test_what_waits_is_sent_once_the_call_before_it_turns_out_to_be_slow(reader, connection):
    connection.gate.clear()
    stuck = asyncio.create_task(reader.get("contact", "c1"))
    await turns()
    behind = asyncio.create_task(reader.get("contact", "c2"))
    await turns()
    await eventually(lambda: len(connection.calls) == 2)
    connection.gate.set()
    assert [contact.name for contact in await asyncio.gather(stuck, behind)] == ["name 1", "name 2"]


async def test_a_read_that_waits_to_be_sent_ends_at_its_deadline(reader, connection, monkeypatch):
    monkeypatch.setattr(batcher, "SLOW", 0)
    connection.gate.clear()
    stuck = []
    for contact_id in ("c1", "c2"):
        stuck.append(asyncio.create_task(reader.get("contact", contact_id)))
        await turns()
    assert len(connection.calls) == 2
    with pytest.raises(ReaderUnavailable, match=r"fake:0 did not answer within 0\.01 s"):
        await reader.get("contact", "c3", timeout=0.01)
    connection.gate.set()
    assert [contact.name for contact in await asyncio.gather(*stuck)] == ["name 1", "name 2"]
    await turns()
    assert "c3" not in [contact_id for _, request in connection.calls for contact_id in ids_of(request)]


async def test_a_caller_that_leaves_breaks_no_other(reader, connection):
    connection.gate.clear()
    leaves, stays = (asyncio.create_task(reader.get("contact", "c1")) for _ in range(2))
    await turns()
    leaves.cancel()
    await turns()
    connection.gate.set()
    assert (await stays).name == "name 1"
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_what_nobody_waits_for_any_more_is_not_asked(reader, connection):
    read = asyncio.create_task(reader.get("contact", "c1"))
    await asyncio.sleep(0)
    read.cancel()
    await turns()
    assert connection.calls == []
    assert (await reader.get("contact", "c2")).name == "name 2"


async def test_reads_that_wait_are_bounded(connection):
    reads = batcher.ReadBatcher(
        batch_reader.BatchReader(connection).answer,
        late=lambda seconds: ReaderUnavailable("late"),
        full=lambda most: ReaderUnavailable(f"{most} wait"),
        most=3,
    )
    connection.gate.clear()
    waiting = [asyncio.create_task(reads.get(ById("contact", "c1"), 10)) for _ in range(3)]
    await turns()
    with pytest.raises(ReaderUnavailable, match="3 wait"):
        await reads.get(ById("contact", "c1"), 10)
    connection.gate.set()
    await asyncio.gather(*waiting)
    assert (await reads.get(ById("contact", "c1"), 10)).name == "name 1"


async def test_an_error_reaches_every_caller_of_the_call_and_no_later_one(reader, connection):
    connection.error = ReaderUnavailable("away")
    results = await asyncio.gather(
        *(reader.get("contact", f"c{number}") for number in range(5)), return_exceptions=True
    )
    assert [str(each) for each in results] == ["away"] * 5
    assert len({id(each) for each in results}) == 5
    connection.error = None
    assert (await reader.get("contact", "c1")).name == "name 1"


async def test_a_reply_with_too_few_answers_is_an_error(reader, connection):
    connection.Read = lambda request: ReadReply()
    with pytest.raises(ReadError, match="left keys unanswered"):
        await reader.get("contact", "c1")


async def test_closing_ends_reads_that_wait(connection):
    connection.gate.clear()
    async with client.ReadClient("fake:0") as reader:
        reads = [asyncio.create_task(reader.get("contact", f"c{number}")) for number in range(2)]
        await turns()
        reads.append(asyncio.create_task(reader.first("contact", 3)))
        await asyncio.sleep(0)
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(each) for each in results] == [ReaderUnavailable] * 3
    assert not connection.is_open


@pytest.mark.parametrize("count", [-1, 1001, 2**40])
async def test_a_count_out_of_range_is_refused_before_it_is_asked(reader, connection, count):
    with pytest.raises(InvalidRead, match="count must be 0 to 1000"):
        await reader.first("contact", count)
    assert connection.calls == []


async def test_what_is_no_id_is_refused_before_it_is_asked(reader, connection):
    with pytest.raises(InvalidRead, match="id must be"):
        await reader.get("contact", "a" * 1000)
    assert connection.calls == []


async def test_a_list_of_none_is_empty_without_asking(reader, connection):
    assert list(await reader.first("contact", 0)) == []
    assert connection.calls == []


async def test_a_contract_only_peer_is_asked_one_by_one_and_that_is_said_once(reader, connection, caplog):
    connection.extended = False
    for _ in range(3):
        one, three, none = await asyncio.gather(
            reader.get("contact", "c1"), reader.first("contact", 3), reader.get("contact", "none")
        )
        assert (one.name, len(three), none) == ("name 1", 3, None)
    assert connection.methods().count("Read") == 1
    assert len(connection.calls) == 1 + 3 * 3
    assert caplog.text.count("one key is read a call") == 1


async def test_calls_to_a_contract_only_peer_are_bounded(reader, connection):
    connection.extended = False
    await asyncio.gather(*(reader.get("contact", f"id{number}") for number in range(500)))
    assert connection.most_under_way <= batch_reader.SINGLE_CALLS


async def test_one_key_that_fails_at_a_contract_only_peer_fails_alone(reader, connection):
    connection.extended = False
    connection.ListContacts = lambda request: ContactArrayRequestResponse(response=MISSING)
    one, failed = await asyncio.gather(reader.get("contact", "c1"), reader.first("contact", 2), return_exceptions=True)
    assert one.name == "name 1"
    assert isinstance(failed, ReadError)


async def test_a_peer_that_was_replaced_is_asked_for_all_again(reader, connection, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(batch_reader, "ASK_AGAIN", 0)
    connection.extended = False
    await reader.get("contact", "c1")
    connection.extended = True
    await reader.get("contact", "c1")
    await reader.get("contact", "c1")
    assert connection.methods() == ["Read", "GetContact", "Read", "Read"]
    assert caplog.text.count("many keys are read a call") == 1


async def test_a_peer_that_was_away_is_asked_for_all_again(reader, connection):
    connection.extended = False
    await reader.get("contact", "c1")
    connection.error = ReaderUnavailable("away")
    with pytest.raises(ReaderUnavailable):
        await reader.get("contact", "c1")
    connection.error = None
    await reader.get("contact", "c1")
    assert connection.methods() == ["Read", "GetContact", "GetContact", "Read", "GetContact"]


async def test_without_a_contract_to_fall_back_on_a_peer_that_does_not_know_read_is_said_to_miss_it(connection):
    connection.extended = False
    async with client.ReadClient("fake:0") as reader:
        with pytest.raises(ExtensionMissing):
            await reader.get("contact", "c1")


async def test_a_contract_only_peer_has_no_other_aggregate(reader, connection, monkeypatch):
    monkeypatch.setattr(client, "registry", lambda: {"contact": None, "note": None})
    connection.extended = False
    one, other, others = await asyncio.gather(
        reader.get("contact", "c1"), reader.get("note", "n1"), reader.first("note", 3), return_exceptions=True
    )
    assert one.name == "name 1"
    assert isinstance(other, ExtensionMissing)
    assert isinstance(others, ExtensionMissing)


async def test_an_aggregate_that_is_not_declared_is_refused_before_it_is_read(reader, connection):
    with pytest.raises(InvalidRead, match="there is no aggregate note"):
        await reader.get("note", "n1")
    assert connection.calls == []


async def test_a_key_that_the_database_refuses_fails_alone(reader, connection, monkeypatch):
    monkeypatch.setattr(client, "registry", lambda: {"contact": None, "note": None})
    one, other = await asyncio.gather(reader.get("contact", "c1"), reader.get("note", "n1"), return_exceptions=True)
    assert one.name == "name 1"
    assert isinstance(other, ReadError)
    assert "there is no aggregate note" in str(other)


async def test_outcomes_are_asked_a_thousand_a_call_each_once(reader, connection):
    wanted = [f"known{number}" for number in range(1500)] + ["other", "known1"]
    outcomes = await reader.get_outcomes(wanted)
    assert [len(request.command_id) for _, request in connection.calls] == [1000, 501]
    assert set(outcomes) == {f"known{number}" for number in range(1500)}


async def test_outcomes_of_nothing_need_no_call(reader, connection):
    assert await reader.get_outcomes([]) == {}
    assert connection.calls == []


async def test_outcomes_of_a_contract_only_peer_are_missing(reader, connection):
    connection.extended = False
    with pytest.raises(ExtensionMissing):
        await reader.get_outcomes(["known1"])


@pytest.mark.parametrize("limit", [0, 1001])
async def test_pages_of_notices_are_bounded(reader, connection, limit):
    with pytest.raises(InvalidRead, match="limit must be 1 to 1000"):
        await reader.read_notices("0", limit)
