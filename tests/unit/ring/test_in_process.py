"""What carries messages within one process: a broker, and calls of gRPC services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
import pytest

from cqrs.journal.errors import BrokerAway
from cqrs.query.client import ReadClient
from cqrs.query.errors import ExtensionMissing, PositionTooOld, ReadError, ReaderUnavailable
from cqrs.transport.in_process import InProcessChannel
from cqrs.transport.in_process_broker import InProcessBroker, InProcessLink
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from protocol.cqrs_read_pb2_grpc import ReadServiceServicer, add_ReadServiceServicer_to_server
from tests.support.polling import eventually


def connect(
    broker: InProcessBroker,
    topics: Iterable[str] = (),
    on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None,
    on_connect: Callable[[], Any] = lambda: None,
) -> InProcessLink:
    return broker.connect(topics=list(topics), on_message=on_message, on_connect=on_connect)


async def running(link: InProcessLink) -> asyncio.Task[None]:
    task = asyncio.create_task(link.run())
    await eventually(lambda: link.connected)
    return task


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_message_is_taken_by_all_that_subscribe_before_it_is_acknowledged() -> None:
    broker = InProcessBroker()
    got: list[tuple[str, bytes]] = []
    both = [connect(broker, ["a"], lambda topic, payload: got.append((topic, payload))) for _ in range(2)]
    other = connect(broker, ["b"], lambda _topic, _payload: pytest.fail("not its topic"))
    tasks = [await running(link) for link in (*both, other)]
    await other.publish("a", b"1")
    assert got == [("a", b"1")] * 2
    await stop(*tasks)


async def test_what_nobody_subscribes_to_is_acknowledged_and_gone() -> None:
    link = connect(InProcessBroker())
    task = await running(link)
    await link.publish("a", b"1")
    await stop(task)


async def test_without_a_connection_nothing_is_published() -> None:
    broker = InProcessBroker()
    link = connect(broker)
    with pytest.raises(BrokerAway):
        await link.publish("a", b"1")
    await stop(await running(link))
    assert not link.connected
    with pytest.raises(BrokerAway):
        await link.publish("a", b"1")


async def test_who_connects_may_publish_at_once() -> None:
    broker = InProcessBroker()
    got: list[bytes] = []
    first = await running(connect(broker, ["hello"], lambda _topic, payload: got.append(payload)))
    link = connect(broker, on_connect=lambda: link.publish("hello", b"here"))
    second = await running(link)
    await eventually(lambda: got == [b"here"])
    await stop(first, second)


async def test_a_defect_of_who_takes_a_message_ends_its_own_connection_and_not_the_senders() -> None:
    broker = InProcessBroker()

    def fail(_topic: str, _payload: bytes) -> None:
        raise ZeroDivisionError("a defect")

    defective, sender = connect(broker, ["a"], fail), connect(broker)
    failing, sending = await running(defective), await running(sender)
    await sender.publish("a", b"1")
    await sender.publish("a", b"2")
    with pytest.raises(ZeroDivisionError):
        await failing
    assert not defective.connected
    assert sender.connected
    await stop(sending)


class Service(ReadServiceServicer):
    """Outcomes as told, and notices until `ended`."""

    def __init__(self) -> None:
        self.outcome: Callable[[Any], Any] = lambda _context: NoticeBatch(notice=[Notice(command_id="a")])
        self.ended = asyncio.Event()

    async def GetOutcomes(self, _request: Any, context: Any) -> Any:
        answer = self.outcome(context)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def WatchNotices(self, request: Any, context: Any) -> AsyncIterator[NoticeBatch]:
        if request.after == "old":
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "too old")
        try:
            for number in (1, 2):
                yield NoticeBatch(notice=[Notice(number=number)])
            if not request.after:
                await asyncio.Event().wait()
        finally:
            self.ended.set()


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[ReadClient]:
    channel = InProcessChannel()
    add_ReadServiceServicer_to_server(service, channel)  # type: ignore[no-untyped-call, unused-ignore]
    async with ReadClient("here", deadline=0.3, channel_to=lambda _address: channel) as client:
        yield client


async def test_a_call_is_answered_by_a_copy(service: Service, client: ReadClient) -> None:
    kept = NoticeBatch(notice=[Notice(command_id="a", message="x")])
    service.outcome = lambda _context: kept
    outcomes = await client.get_outcomes(["a"])
    outcomes["a"].message = "changed"
    assert kept.notice[0].message == "x"


async def test_statuses_are_those_of_a_service_elsewhere(service: Service, client: ReadClient) -> None:
    service.outcome = lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "away")
    with pytest.raises(ReaderUnavailable, match="away"):
        await client.get_outcomes(["a"])
    service.outcome = lambda _context: 1 // 0
    with pytest.raises(ReadError, match="ZeroDivisionError"):
        await client.get_outcomes(["a"])


async def test_a_method_of_no_service_is_missing() -> None:
    async with ReadClient("here", channel_to=lambda _address: InProcessChannel()) as client:
        with pytest.raises(ExtensionMissing):
            await client.get_outcomes(["a"])


async def test_a_call_that_is_not_answered_ends_at_its_deadline(service: Service, client: ReadClient) -> None:
    service.outcome = lambda _context: asyncio.Event().wait()
    with pytest.raises(ReaderUnavailable, match="in time"):
        await client.get_outcomes(["a"])


async def test_a_stream_is_read_to_its_end_and_its_errors_are_raised(client: ReadClient) -> None:
    numbers = [batch.notice[0].number async for batch in client.watch_notices("1")]
    assert numbers == [1, 2]
    with pytest.raises(PositionTooOld, match="too old"):
        await anext(client.watch_notices("old"))


async def test_a_stream_that_is_left_ends_at_its_service(service: Service, client: ReadClient) -> None:
    batches = client.watch_notices("")
    await anext(batches)
    assert not service.ended.is_set()
    await batches.aclose()
    await asyncio.wait_for(service.ended.wait(), 5)
