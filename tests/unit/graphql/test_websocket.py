"""The graphql-transport-ws protocol: its messages and close codes, and what bounds a socket."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest
from channels.testing import ApplicationCommunicator, WebsocketCommunicator

from cqrs.query.errors import SubscriberTooSlow
from cqrssite.graphql.engine.events import OVERHEAD, EventMemory
from cqrssite.graphql.engine.executor import Executor
from cqrssite.graphql.websocket.consumer import MAX_MESSAGE, MAX_OPERATIONS, PROTOCOL, GraphQLConsumer
from cqrssite.graphql.websocket.flow_control import SendWindow
from protocol.contact_pb2 import Contact
from protocol.cqrs_notice_pb2 import Notice
from tests.support.fake_gateway import FakeGateway, Settings, State, name_of
from tests.support.polling import eventually

CHANGED = "subscription { contactChanged { position kind contactId contact { name } } }"


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def headers(**more: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"testserver"), *((name.encode(), value.encode()) for name, value in more.items())]


@asynccontextmanager
async def socket(
    gateway: FakeGateway, *, init: bool = True, protocols: tuple[str, ...] = (PROTOCOL,), **options: Any
) -> AsyncIterator[WebsocketCommunicator]:
    """A socket that is accepted; `init`: and acknowledged."""
    application = GraphQLConsumer.as_asgi(gateway=lambda: gateway, settings=Settings(), **options)
    communicator = WebsocketCommunicator(application, "/graphql", headers=headers(), subprotocols=list(protocols))
    accepted, protocol = await communicator.connect()
    assert accepted
    assert protocol == (PROTOCOL if PROTOCOL in protocols else None)
    if init:
        await communicator.send_json_to({"type": "connection_init"})
        assert await communicator.receive_json_from() == {"type": "connection_ack"}
    yield communicator
    await communicator.disconnect()


async def say(communicator: WebsocketCommunicator, **message: Any) -> None:
    await communicator.send_json_to(message)


async def subscribe(communicator: WebsocketCommunicator, query: str, operation_id: str = "1", **payload: Any) -> None:
    await say(communicator, type="subscribe", id=operation_id, payload={"query": query, **payload})


async def hear(communicator: ApplicationCommunicator) -> dict[str, Any]:
    """The next message that is no ping of the server."""
    while True:
        message = json.loads((await communicator.receive_output(5))["text"])
        if message["type"] != "ping":
            return dict(message)


async def closed(communicator: ApplicationCommunicator) -> int:
    """The code that the server closes with, whatever it says before."""
    while True:
        message = await communicator.receive_output(5)
        if message["type"] == "websocket.close":
            return int(message["code"])


# --- Coming in


async def test_a_client_that_does_not_speak_the_protocol_is_told_4406(gateway: FakeGateway) -> None:
    async with socket(gateway, init=False, protocols=("graphql-ws",)) as communicator:
        assert await closed(communicator) == 4406


@pytest.mark.parametrize(
    "wrong", [{"host": "evil.example"}, {"host": "testserver", "origin": "https://evil.example"}, {}]
)
async def test_other_hosts_and_pages_of_other_origins_are_refused_before_accept(
    gateway: FakeGateway, wrong: dict[str, str]
) -> None:
    application = GraphQLConsumer.as_asgi(gateway=lambda: gateway, settings=Settings())
    given = [(name.encode(), value.encode()) for name, value in wrong.items()]
    communicator = WebsocketCommunicator(application, "/graphql", headers=given, subprotocols=[PROTOCOL])
    accepted, _ = await communicator.connect()
    assert not accepted


@pytest.mark.parametrize("origin", ["http://testserver", "https://app.example.net"])
async def test_our_own_pages_and_those_of_allowed_origins_come_in(gateway: FakeGateway, origin: str) -> None:
    application = GraphQLConsumer.as_asgi(gateway=lambda: gateway, settings=Settings())
    communicator = WebsocketCommunicator(
        application, "/graphql", headers=headers(origin=origin), subprotocols=["x", PROTOCOL]
    )
    assert await communicator.connect() == (True, PROTOCOL)
    await communicator.disconnect()


async def test_a_client_that_does_not_introduce_itself_is_closed_with_4408(gateway: FakeGateway) -> None:
    async with socket(gateway, init=False, init_seconds=0.01) as communicator:
        assert await closed(communicator) == 4408


async def test_a_second_introduction_is_4429(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await say(communicator, type="connection_init", payload={})
        assert await closed(communicator) == 4429


async def test_an_operation_before_the_introduction_is_4401(gateway: FakeGateway) -> None:
    async with socket(gateway, init=False) as communicator:
        await subscribe(communicator, "{ __typename }")
        assert await closed(communicator) == 4401


async def test_a_ping_is_answered_with_its_payload_even_before_the_introduction(gateway: FakeGateway) -> None:
    async with socket(gateway, init=False) as communicator:
        await say(communicator, type="ping", payload={"n": 1})
        assert await communicator.receive_json_from() == {"type": "pong", "payload": {"n": 1}}
        await say(communicator, type="ping")
        assert await communicator.receive_json_from() == {"type": "pong"}


@pytest.mark.parametrize(
    "text",
    [
        "NONSENSE",
        "7",
        "{}",
        '{"type": 7}',
        '{"type": "start"}',
        '{"type": "connection_init", "payload": 7}',
        '{"type": "ping", "payload": "x"}',
        '{"type": "subscribe", "payload": {"query": "{__typename}"}}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{__typename}"}}',
        '{"type": "subscribe", "id": 7, "payload": {"query": "{__typename}"}}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{__typename}", "variables": []}}',
        '{"type": "complete"}',
    ],
)
async def test_what_is_no_message_is_4400(gateway: FakeGateway, text: str) -> None:
    async with socket(gateway) as communicator:
        await communicator.send_to(text_data=text)
        assert await closed(communicator) == 4400


async def test_a_binary_message_is_4400(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await communicator.send_to(bytes_data=b"{}")
        assert await closed(communicator) == 4400


async def test_a_message_that_is_too_large_is_1009(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await communicator.send_to(text_data="x" * (MAX_MESSAGE + 1))
        assert await closed(communicator) == 1009


# --- Operations


async def test_queries_and_mutations_are_answered_too(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        query = "query Q { __typename } mutation M($n: String!) { addContact(name: $n) { status } }"
        await subscribe(communicator, query, operationName="M", variables={"n": "Ada"})
        answer = {"data": {"addContact": {"status": "OK"}}}
        assert await hear(communicator) == {"id": "1", "type": "next", "payload": answer}
        assert await hear(communicator) == {"id": "1", "type": "complete"}
    assert name_of(gateway.journal.accepted[0]) == "Ada"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nobody }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: String!) { contact(id: $id) { id } }", "BAD_USER_INPUT"),
        ('subscription { contactChanged(contactId: "a b") { kind } }', "BAD_USER_INPUT"),
        ('subscription { contactChanged(afterPosition: "7") { kind } }', "POSITION_UNKNOWN"),
        ('subscription { commandSettled(id: "k") { id } }', "NOT_FOUND"),
    ],
)
async def test_what_cannot_begin_is_an_error_and_its_id_is_free_again(
    gateway: FakeGateway, query: str, code: str
) -> None:
    async with socket(gateway) as communicator:
        for _ in range(2):
            await subscribe(communicator, query)
            message = await hear(communicator)
            assert (message["type"], message["id"]) == ("error", "1")
            assert message["payload"][0]["extensions"]["code"] == code


async def test_an_error_of_a_field_comes_with_its_data(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, '{ contact(id: "a") { id } }')
        message = await hear(communicator)
        assert message["type"] == "next"
        assert message["payload"]["data"] == {"contact": None}


async def test_notices_arrive_in_order_at_every_subscriber(gateway: FakeGateway) -> None:
    async with socket(gateway) as one, socket(gateway) as other:
        for communicator in (one, other):
            await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 2)
        gateway.feed.tell(Notice.ADDED, "a", contact=Contact(id="a", name="Ada"))
        gateway.feed.tell(Notice.DELETED, "a", contact=Contact(id="a", name="Ada"))
        gateway.feed.tell(Notice.REJECTED, "b")
        for communicator in (one, other):
            heard = [(await hear(communicator))["payload"]["data"]["contactChanged"] for _ in range(3)]
            ada = {"contactId": "a", "contact": {"name": "Ada"}}
            assert heard == [
                {"position": "1", "kind": "ADDED", **ada},
                {"position": "2", "kind": "DELETED", **ada},
                {"position": "3", "kind": "REJECTED", "contactId": "b", "contact": None},
            ]


async def test_a_notice_is_executed_once_for_all_sockets_that_select_the_same(gateway: FakeGateway) -> None:
    gateway.feed.tell(Notice.ADDED, "a", contact=Contact(id="a", name="Ada"))
    gateway.feed.tell(Notice.ADDED, "b", contact=Contact(id="b", name="Bea"))
    resumed = CHANGED.replace("contactChanged", 'contactChanged(afterPosition: "1")')
    executed = mock.Mock(wraps=Executor._execute)
    async with socket(gateway) as one, socket(gateway) as other, socket(gateway) as third:
        with mock.patch.object(Executor, "_execute", lambda *given: executed(*given)):
            for communicator in (one, other):
                await subscribe(communicator, resumed, "x" if communicator is one else 'y"')
            # Another selection is another answer.
            await subscribe(third, 'subscription { contactChanged(afterPosition: "1") { contactId } }')
            messages = [await hear(communicator) for communicator in (one, other, third)]
    assert executed.call_count == 2
    assert [message["id"] for message in messages] == ["x", 'y"', "1"]
    assert messages[0]["payload"] == messages[1]["payload"]
    assert messages[0]["payload"]["data"]["contactChanged"]["contact"] == {"name": "Bea"}
    assert messages[2]["payload"] == {"data": {"contactChanged": {"contactId": "b"}}}


def test_what_is_remembered_of_notices_is_bounded() -> None:
    texts: EventMemory[str] = EventMemory(limit=3 * OVERHEAD)
    notices = [Notice(position=str(number)) for number in range(10)]
    for notice in notices:
        texts.keep(notice, "", 0, 1)
        # Again: two sockets at once.
        texts.keep(notice, "", 0, 1)
    assert len(texts) == 3
    assert texts.get(notices[6], 1) is None
    assert texts.get(notices[7], 1) == ""
    # Equal, but another one; and another selection.
    assert texts.get(Notice(position="9"), 1) is None
    assert texts.get(notices[9], 2) is None


async def test_a_subscription_goes_on_after_a_position(gateway: FakeGateway) -> None:
    for contact_id in "abc":
        gateway.feed.tell(Notice.ADDED, contact_id)
    async with socket(gateway) as communicator:
        await subscribe(communicator, 'subscription { contactChanged(afterPosition: "1") { contactId } }')
        await eventually(lambda: gateway.feed.subscribers == 1)
        gateway.feed.tell(Notice.ADDED, "d")
        heard = [(await hear(communicator))["payload"]["data"]["contactChanged"]["contactId"] for _ in range(3)]
        assert heard == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('contactId: "a"', ["1", "3"]), ('commandId: "k"', ["2"]), ('contactId: "a", commandId: "m"', ["3"])],
)
async def test_a_subscription_hears_what_it_asked_for(
    gateway: FakeGateway, arguments: str, expected: list[str]
) -> None:
    async with socket(gateway) as communicator:
        query = f'subscription {{ contactChanged({arguments}, afterPosition: "0") {{ position }} }}'
        gateway.feed.tell(Notice.ADDED, "a", "j")
        gateway.feed.tell(Notice.ADDED, "b", "k")
        gateway.feed.tell(Notice.UPDATED, "a", "m")
        await subscribe(communicator, query)
        for position in expected:
            assert (await hear(communicator))["payload"]["data"]["contactChanged"] == {"position": position}
        assert await communicator.receive_nothing(0.02)


async def test_what_a_notice_tells_is_shown(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        query = """subscription { contactChanged(afterPosition: "0") {
            commandId contactId message reason committedAt } }"""
        gateway.feed.tell(Notice.REJECTED, "a", "k", message="too late", reason=Notice.CONFLICT)
        gateway.feed.tell(Notice.ADDED, "a")
        await subscribe(communicator, query)
        first, second = [(await hear(communicator))["payload"]["data"]["contactChanged"] for _ in range(2)]
        assert first == {
            "commandId": "k",
            "contactId": "a",
            "message": "too late",
            "reason": "CONFLICT",
            "committedAt": "2025-12-31T12:00:01.005Z",
        }
        assert (second["commandId"], second["reason"]) == (None, None)


SETTLED = 'subscription { commandSettled(id: "k") { id state } }'


async def queue(communicator: WebsocketCommunicator) -> None:
    await subscribe(communicator, 'mutation { addContact(name: "Ada", commandId: "k") { status } }', "add")
    assert (await hear(communicator))["type"] == "next"
    assert (await hear(communicator))["type"] == "complete"


async def test_a_settled_command_is_told_at_once_and_once(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await queue(communicator)
        gateway.journal.end("k", State.CANCELLED)
        await subscribe(communicator, SETTLED)
        command = {"commandSettled": {"id": "k", "state": "CANCELLED"}}
        assert await hear(communicator) == {"id": "1", "type": "next", "payload": {"data": command}}
        assert await hear(communicator) == {"id": "1", "type": "complete"}


async def test_a_queued_command_is_told_when_it_settles(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await queue(communicator)
        await subscribe(communicator, SETTLED)
        await eventually(lambda: gateway.journal.waiting == 1)
        gateway.journal.end("k")
        assert (await hear(communicator))["payload"]["data"] == {"commandSettled": {"id": "k", "state": "APPLIED"}}
        assert (await hear(communicator))["type"] == "complete"


async def test_a_parked_command_is_told_only_when_it_is_settled(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cqrssite.graphql.subscriptions.PARKED_SECONDS", 0.001)
    async with socket(gateway) as communicator:
        await queue(communicator)
        gateway.journal.end("k", State.PARKED)
        await subscribe(communicator, SETTLED)
        assert await communicator.receive_nothing(0.02)
        gateway.journal.end("k", State.DISCARDED)
        assert (await hear(communicator))["payload"]["data"] == {"commandSettled": {"id": "k", "state": "DISCARDED"}}


async def test_an_id_in_use_is_4409(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        await subscribe(communicator, "{ __typename }")
        assert await closed(communicator) == 4409
    await eventually(lambda: gateway.feed.subscribers == 0)


async def test_a_completed_operation_ends_its_source_and_frees_its_id(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 1)
        await say(communicator, type="complete", id="1")
        await eventually(lambda: gateway.feed.subscribers == 0)
        await say(communicator, type="complete", id="1")
        await subscribe(communicator, "{ __typename }")
        assert (await hear(communicator))["type"] == "next"


async def test_operations_on_one_socket_are_bounded(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        for number in range(MAX_OPERATIONS):
            await subscribe(communicator, CHANGED, str(number))
        await subscribe(communicator, "{ __typename }", "more")
        message = await hear(communicator)
        assert (message["type"], message["id"]) == ("error", "more")
        assert message["payload"][0]["extensions"]["code"] == "UNAVAILABLE"
        await say(communicator, type="complete", id="0")
        await subscribe(communicator, "{ __typename }", "more")
        assert (await hear(communicator))["type"] == "next"


async def test_a_defect_of_a_source_is_hidden(gateway: FakeGateway, caplog: pytest.LogCaptureFixture) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        gateway.feed.fail(RuntimeError("the password is 1234"))
        (error,) = (await hear(communicator))["payload"]
        assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert "1234" not in str(error)
        assert "the password is 1234" in caplog.text


# --- Going out


async def test_a_client_that_leaves_ends_its_sources(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 1)
    await eventually(lambda: gateway.feed.subscribers == 0)


async def test_a_server_that_cancels_the_application_ends_its_sources(gateway: FakeGateway) -> None:
    application = GraphQLConsumer.as_asgi(gateway=lambda: gateway, settings=Settings())
    communicator = WebsocketCommunicator(application, "/graphql", headers=headers(), subprotocols=[PROTOCOL])
    await communicator.connect()
    await say(communicator, type="connection_init")
    await subscribe(communicator, CHANGED)
    await eventually(lambda: gateway.feed.subscribers == 1)
    communicator.future.cancel()
    await eventually(lambda: gateway.feed.subscribers == 0)


async def test_a_gateway_that_stops_closes_with_1012(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 1)
        gateway.feed.end()
        assert await closed(communicator) == 1012


async def test_a_subscriber_that_fell_behind_is_closed_with_4413(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED)
        gateway.feed.fail(SubscriberTooSlow("too slow"))
        assert await closed(communicator) == 4413


async def test_a_client_that_answers_pings_stays(gateway: FakeGateway) -> None:
    async with socket(gateway, init_seconds=0.01, ping_seconds=0.02) as communicator:
        for _ in range(5):
            assert await communicator.receive_json_from() == {"type": "ping"}
            await say(communicator, type="pong")


async def test_a_client_that_does_not_answer_pings_is_closed_with_4413(gateway: FakeGateway) -> None:
    async with socket(gateway, init_seconds=0.01, ping_seconds=0.02) as communicator:
        assert await closed(communicator) == 4413


async def test_a_client_that_takes_nothing_is_closed_with_4413(gateway: FakeGateway) -> None:
    def window() -> SendWindow:
        return SendWindow(limit=1000, seconds=0.05)

    async with socket(gateway, window=window) as communicator:
        await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 1)
        for _ in range(100):
            gateway.feed.tell(Notice.ADDED, "a")
        assert await closed(communicator) == 4413
    await eventually(lambda: gateway.feed.subscribers == 0)


async def test_a_client_that_answers_pings_gets_more_than_the_window(gateway: FakeGateway) -> None:
    async with socket(gateway, window=lambda: SendWindow(limit=1000, seconds=5)) as communicator:
        await subscribe(communicator, CHANGED)
        await eventually(lambda: gateway.feed.subscribers == 1)
        for _ in range(100):
            gateway.feed.tell(Notice.ADDED, "a")
        heard = 0
        while heard < 100:
            message = await communicator.receive_json_from()
            if message["type"] == "ping":
                await say(communicator, type="pong")
            else:
                heard += 1


async def test_a_socket_whose_sending_does_not_end_is_given_up(gateway: FakeGateway) -> None:
    """As of a server that waits for a socket which nobody reads."""
    gateway.feed.tell(Notice.ADDED, "a")
    query = 'subscription { contactChanged(afterPosition: "0") { kind } }'
    stuck = asyncio.Event()
    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": '{"type": "connection_init"}'},
        {
            "type": "websocket.receive",
            "text": json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}),
        },
    ]
    closes: list[int] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await stuck.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            closes.append(message["code"])
            stuck.set()
        elif '"next"' in message.get("text", ""):
            await asyncio.Event().wait()

    application: Callable[..., Awaitable[None]] = GraphQLConsumer.as_asgi(
        gateway=lambda: gateway, settings=Settings(), window=lambda: SendWindow(seconds=0.01)
    )
    scope = {"type": "websocket", "path": "/graphql", "headers": headers(), "subprotocols": [PROTOCOL]}
    async with asyncio.timeout(5):
        await application(scope, receive, send)
    assert closes == [4413]
    assert gateway.feed.subscribers == 0


async def test_a_client_that_is_gone_when_it_is_sent_something_is_no_defect(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = asyncio.Event()

    async def send_to_nobody(_consumer: GraphQLConsumer, *_: object, **__: object) -> None:
        tried.set()
        raise ConnectionError("the client is gone")

    async with socket(gateway) as communicator:
        monkeypatch.setattr(GraphQLConsumer, "send", send_to_nobody)
        await subscribe(communicator, "{ __typename }")
        async with asyncio.timeout(5):
            await tried.wait()
        assert await communicator.receive_nothing()
    assert caplog.records == []


async def test_a_socket_that_has_ended_is_freed_without_the_garbage_collector(gateway: FakeGateway) -> None:
    made: list[weakref.ref[GraphQLConsumer]] = []

    class Consumer(GraphQLConsumer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(weakref.ref(self))

    received = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": '{"type": "connection_init"}'},
            {
                "type": "websocket.receive",
                "text": json.dumps({"type": "subscribe", "id": "1", "payload": {"query": CHANGED}}),
            },
            {"type": "websocket.disconnect", "code": 1001},
        ]
    )

    async def receive() -> dict[str, Any]:
        # For what was asked to have begun.
        await asyncio.sleep(0.01)
        return next(received)

    async def send(_message: dict[str, Any]) -> None: ...

    scope = {"type": "websocket", "path": "/graphql", "headers": headers(), "subprotocols": [PROTOCOL]}
    gc.disable()
    try:
        application: Callable[..., Awaitable[None]] = Consumer.as_asgi(gateway=lambda: gateway, settings=Settings())
        await application(scope, receive, send)
        # Finished tasks are let go of by the loop a turn later.
        await asyncio.sleep(0)
        assert [each() for each in made] == [None]
    finally:
        gc.enable()


# --- Messages that cannot be read


@pytest.mark.parametrize(
    "payload",
    [
        '{"query":"{ contact(id: \\"Zoe \\ud83d\\") { id } }"}',
        '{"query":"query ($id: String!) { contact(id: $id) { id } }","variables":{"id":"Zoe \\ud83d"}}',
        '{"query":"query ($id: String!) { contact(id: $id) { id } }","variables":{"id":%s}}' % ("[" * 900 + "]" * 900),
    ],
)  # fmt: skip
async def test_a_payload_that_cannot_be_read_ends_its_own_operation_alone(gateway: FakeGateway, payload: str) -> None:
    async with socket(gateway) as communicator:
        await subscribe(communicator, CHANGED, "other")
        await eventually(lambda: gateway.feed.subscribers == 1)
        await communicator.send_to(f'{{"type":"subscribe","id":"wrong","payload":{payload}}}')
        message = await hear(communicator)
        assert (message["id"], message["type"]) == ("wrong", "error")
        assert message["payload"][0]["extensions"]["code"] in ("BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED")
        gateway.feed.tell(Notice.ADDED, "a", contact=Contact(id="a", name="Ada"))
        assert (await hear(communicator))["id"] == "other"


async def test_a_ping_that_is_nested_too_deeply_to_be_written_is_answered_without_its_payload(
    gateway: FakeGateway,
) -> None:
    async with socket(gateway) as communicator:
        await communicator.send_to('{"type":"ping","payload":{"x":%s}}' % ("[" * 900 + "]" * 900))
        assert await hear(communicator) == {"type": "pong"}


async def test_a_message_that_is_no_operation_and_cannot_be_read_is_4400(gateway: FakeGateway) -> None:
    async with socket(gateway) as communicator:
        await communicator.send_to('{"type":"subscribe","id":"\\ud83d","payload":{}}')
        assert await closed(communicator) == 4400
