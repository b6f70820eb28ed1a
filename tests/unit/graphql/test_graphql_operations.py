"""Queries and mutations, executed against a gateway in memory."""

import asyncio
import logging
import re
from typing import Any

import pytest

from cqrs.journal.errors import JournalFull
from cqrssite.graphql.context import MAX_LISTED, Context, settle_seconds
from cqrssite.graphql.engine.errors import RequestRefused
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.schema import executor
from cqrssite.wiring import GatewayNotOpen
from protocol.contact_pb2 import Contact
from protocol.ids import aggregate_id_of
from tests.support.fake_gateway import FakeGateway, State, name_of

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


async def run(gateway: FakeGateway, query: str, *, actor: str = "", settle: float = 5, **variables: Any) -> Any:
    async def find_actor() -> str:
        return actor

    operation = await executor().prepare(GraphQLRequest(query, variables, None, None))
    return await executor().execute(operation, Context(lambda: gateway, find_actor, settle_seconds=settle))


def only_error(response: Any) -> tuple[str, str]:
    (error,) = response["errors"]
    return error["extensions"]["code"], error["message"]


# --- Reads


async def test_a_contact_is_shown_as_stored(gateway: FakeGateway) -> None:
    gateway.reader.add("a", "Ada")
    response = await run(gateway, '{ contact(id: "a") { id name last_updated lastUpdated version } }')
    moment = "2025-12-31T12:00:00.005Z"
    assert response == {
        "data": {
            "contact": {"id": "a", "name": "Ada", "last_updated": moment, "lastUpdated": moment, "version": 1},
        }
    }


async def test_what_a_foreign_database_does_not_tell_is_null(gateway: FakeGateway) -> None:
    gateway.reader.contacts["a"] = Contact(id="a", name="Ada")
    response = await run(gateway, '{ contact(id: "a") { last_updated lastUpdated version } }')
    assert response == {"data": {"contact": {"last_updated": None, "lastUpdated": None, "version": None}}}


@pytest.mark.parametrize("field", ["contact", "getContact"])
async def test_a_missing_contact_is_null_with_an_error(gateway: FakeGateway, field: str) -> None:
    response = await run(gateway, f'{{ {field}(id: "a") {{ id }} }}')
    assert response["data"] == {field: None}
    assert only_error(response) == ("NOT_FOUND", "user with id a not found")
    assert response["errors"][0]["path"] == [field]


@pytest.mark.parametrize("contact_id", ["", " ", "a b", "x" * 101, "\x00"])
async def test_what_is_no_id_is_refused_before_anyone_is_asked(gateway: FakeGateway, contact_id: str) -> None:
    response = await run(gateway, "query ($id: String!) { contact(id: $id) { id } }", id=contact_id)
    assert only_error(response)[0] == "BAD_USER_INPUT"
    assert gateway.reader.timeouts == []


async def test_the_first_contacts_are_listed(gateway: FakeGateway) -> None:
    for contact_id in "abc":
        gateway.reader.add(contact_id)
    response = await run(gateway, "{ listContacts(count: 2) { id } none: listContacts(count: 0) { id } }")
    assert response == {"data": {"listContacts": [{"id": "a"}, {"id": "b"}], "none": []}}


@pytest.mark.parametrize("count", [-1, 1001])
async def test_a_count_out_of_range_is_refused(gateway: FakeGateway, count: int) -> None:
    response = await run(gateway, "query ($count: Int!) { listContacts(count: $count) { id } }", count=count)
    assert only_error(response)[0] == "BAD_USER_INPUT"
    assert response["data"] == {"listContacts": None}


async def test_an_operation_lists_no_more_than_it_may(gateway: FakeGateway) -> None:
    fields = " ".join(f"l{n}: listContacts(count: 1000) {{ id }}" for n in range(MAX_LISTED // 1000 + 1))
    response = await run(gateway, f"{{ {fields} }}")
    code, message = only_error(response)
    assert code == "BAD_USER_INPUT"
    assert str(MAX_LISTED) in message


async def test_a_reader_that_is_away_is_unavailable(gateway: FakeGateway) -> None:
    gateway.reader.away = True
    response = await run(gateway, "{ listContacts(count: 2) { id } }")
    assert only_error(response) == ("UNAVAILABLE", "the reader does not answer")


async def test_a_gateway_that_is_not_open_is_unavailable() -> None:
    def current() -> Any:
        raise GatewayNotOpen("The gateway is starting or stopping.")

    async def nobody() -> str:
        return ""

    operation = await executor().prepare(
        GraphQLRequest('mutation { addContact(name: "x") { status } }', None, None, None)
    )
    response = await executor().execute(operation, Context(current, nobody, settle_seconds=1))
    assert only_error(response) == ("UNAVAILABLE", "The gateway is starting or stopping.")


async def test_a_defect_is_logged_with_an_id_and_hidden(gateway: FakeGateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.reader.defect = RuntimeError("the password is 1234")
    with caplog.at_level(logging.ERROR):
        response = await run(gateway, '{ contact(id: "a") { id } }')
    (error,) = response["errors"]
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "1234" not in str(response)
    assert error["extensions"]["errorId"] in error["message"]
    assert error["extensions"]["errorId"] in caplog.text
    assert "the password is 1234" in caplog.text


# --- Commands, and reads after them


async def test_a_command_is_shown_as_the_journal_knows_it(gateway: FakeGateway) -> None:
    query = """query { command(id: "k") {
        id kind contactId state message reason actor acceptedAt takesEffectAt settledAt version } }"""
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }', actor="grace")
    queued = (await run(gateway, query))["data"]["command"]
    assert ISO.match(queued.pop("acceptedAt"))
    assert ISO.match(queued.pop("takesEffectAt"))
    assert queued == {
        "id": "k",
        "kind": "ADD",
        "contactId": aggregate_id_of("k"),
        "state": "QUEUED",
        "message": "",
        "reason": None,
        "actor": "grace",
        "settledAt": None,
        "version": None,
    }
    gateway.journal.end("k", State.REJECTED, message="no", reason="CONFLICT", version=7)
    settled = (await run(gateway, query))["data"]["command"]
    assert settled["state"] == "REJECTED"
    assert settled["reason"] == "CONFLICT"
    assert settled["version"] == 7
    assert settled["settledAt"] == "2026-01-02T03:04:05.006Z"


async def test_an_unknown_command_is_null(gateway: FakeGateway) -> None:
    assert await run(gateway, '{ command(id: "k") { id } }') == {"data": {"command": None}}


AFTER = 'query { contact(id: "a", afterCommand: "k") { name } listContacts(count: 1, afterCommand: "k") { name } }'


async def test_a_read_after_a_settled_command_sees_it(gateway: FakeGateway) -> None:
    gateway.reader.add("a", "Ada")
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    gateway.journal.end("k")
    assert await run(gateway, AFTER) == {"data": {"contact": {"name": "Ada"}, "listContacts": [{"name": "Ada"}]}}


async def test_a_read_after_a_queued_command_waits_until_it_is_settled(gateway: FakeGateway) -> None:
    gateway.reader.add("a", "Ada")
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')

    reading = asyncio.create_task(run(gateway, AFTER))
    async with asyncio.timeout(5):
        while gateway.journal.waiting < 2:  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0)
    assert gateway.reader.timeouts == []
    gateway.journal.end("k")
    assert (await reading)["data"]["contact"] == {"name": "Ada"}


async def test_a_read_does_not_wait_forever(gateway: FakeGateway) -> None:
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    response = await run(gateway, '{ contact(id: "a", afterCommand: "k") { name } }', settle=0.01)
    code, message = only_error(response)
    assert code == "UNAVAILABLE"
    assert "k is not settled within 0.01 s" in message


@pytest.mark.parametrize(("state", "expected"), [(State.PARKED, "CONFLICT"), (State.HANDED_OVER, "UNAVAILABLE")])
async def test_a_read_after_what_does_not_end_says_so_at_once(
    gateway: FakeGateway, state: State, expected: str
) -> None:
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    gateway.journal.end("k", state, message="a defect")
    response = await run(gateway, '{ contact(id: "a", afterCommand: "k") { name } }', settle=3600)
    assert only_error(response)[0] == expected


async def test_a_read_after_an_unknown_command_is_refused(gateway: FakeGateway) -> None:
    response = await run(gateway, '{ contact(id: "a", afterCommand: "k") { name } }')
    assert only_error(response)[0] == "NOT_FOUND"


def test_reads_wait_as_long_as_the_delay_needs_but_not_longer_than_a_client_would() -> None:
    assert settle_seconds(3) == 8
    assert settle_seconds(3600) == 15


# --- Writes

ANSWER = "{ status message commandId contactId takesEffectAt takesEffectInMs }"


async def test_an_add_is_journaled_and_answered(gateway: FakeGateway) -> None:
    response = await run(gateway, f'mutation {{ addContact(name: " Ada ") {ANSWER} }}', actor="grace")
    (command,) = gateway.journal.accepted
    answer = response["data"]["addContact"]
    assert ISO.match(answer.pop("takesEffectAt"))
    assert 2000 < answer.pop("takesEffectInMs") <= 3000
    command_id = command.meta.command_id
    contact_id = aggregate_id_of(command_id)
    expected = {"status": "OK", "message": "Queued to add", "commandId": command_id, "contactId": contact_id}
    assert answer == expected
    assert (name_of(command), command.aggregate_id, command.meta.actor) == ("Ada", contact_id, "grace")


async def test_an_add_names_no_contact_where_a_foreign_database_may_name_it(gateway: FakeGateway) -> None:
    gateway.feed.state = "missing"
    response = await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { commandId contactId } }')
    assert response == {"data": {"addContact": {"commandId": "k", "contactId": None}}}
    gateway.journal.end("k", State.HANDED_OVER)
    response = await run(gateway, '{ command(id: "k") { state contactId } }')
    assert response == {"data": {"command": {"state": "HANDED_OVER", "contactId": None}}}


async def test_a_mutation_names_no_time_where_a_foreign_writer_decides(gateway: FakeGateway) -> None:
    gateway.foreign_writer = True
    response = await run(gateway, 'mutation { addContact(name: "Ada") { status takesEffectAt takesEffectInMs } }')
    assert response == {"data": {"addContact": {"status": "OK", "takesEffectAt": None, "takesEffectInMs": None}}}


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        ('updateContact(id: "a", name: "Bob", expectedVersion: 1)', "Queued to update"),
        ('deleteContact(id: "a", expectedVersion: 1)', "Queued to delete"),
    ],
)
async def test_a_stored_contact_can_be_changed(gateway: FakeGateway, mutation: str, message: str) -> None:
    gateway.reader.add("a")
    response = await run(gateway, f"mutation {{ answer: {mutation} {{ status message contactId }} }}")
    assert response == {"data": {"answer": {"status": "OK", "message": message, "contactId": "a"}}}
    (command,) = gateway.journal.accepted
    assert command.meta.expected_version == 1
    assert gateway.reader.timeouts == [0.5]


CHANGES = ['updateContact(id: "a", name: "Bob")', 'deleteContact(id: "a")']


@pytest.mark.parametrize("mutation", CHANGES)
async def test_a_contact_that_is_neither_pending_nor_stored_cannot_be_changed(
    gateway: FakeGateway, mutation: str
) -> None:
    response = await run(gateway, f"mutation {{ {mutation} {{ status }} }}")
    assert response["data"] is None
    assert only_error(response) == ("NOT_FOUND", "user with id a not found")
    assert gateway.journal.accepted == []


@pytest.mark.parametrize("mutation", CHANGES)
async def test_a_pending_contact_can_be_changed_and_the_reader_is_not_asked(
    gateway: FakeGateway, mutation: str
) -> None:
    added = await run(gateway, 'mutation { addContact(name: "Ada") { contactId } }')
    contact_id = added["data"]["addContact"]["contactId"]
    response = await run(gateway, f"mutation {{ answer: {mutation} {{ status }} }}".replace('"a"', f'"{contact_id}"'))
    assert response == {"data": {"answer": {"status": "OK"}}}
    assert gateway.reader.timeouts == []


@pytest.mark.parametrize("mutation", CHANGES)
async def test_a_change_is_accepted_while_the_reader_is_away(gateway: FakeGateway, mutation: str) -> None:
    gateway.reader.away = True
    response = await run(gateway, f"mutation {{ answer: {mutation} {{ status }} }}")
    assert response == {"data": {"answer": {"status": "OK"}}}


async def test_a_repeated_delete_gets_its_first_answer_though_the_contact_is_gone(gateway: FakeGateway) -> None:
    gateway.reader.add("a")
    mutation = 'mutation { deleteContact(id: "a", commandId: "k") { message commandId contactId takesEffectAt } }'
    first = await run(gateway, mutation)
    gateway.reader.contacts.clear()
    gateway.journal.end("k")
    assert await run(gateway, mutation) == first
    assert len(gateway.journal.accepted) == 1


async def test_a_key_with_other_arguments_is_a_conflict(gateway: FakeGateway) -> None:
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    response = await run(gateway, 'mutation { addContact(name: "Bob", commandId: "k") { status } }')
    assert only_error(response)[0] == "CONFLICT"


@pytest.mark.parametrize(
    "mutation",
    [
        'addContact(name: "")',
        'addContact(name: "   ")',
        'addContact(name: "a\\u0000b")',
        f'addContact(name: "{"x" * 201}")',
        'addContact(name: "x", commandId: "")',
        'updateContact(id: "", name: "x")',
        'updateContact(id: "a b", name: "x")',
        'updateContact(id: "a", name: "x", expectedVersion: 0)',
        'deleteContact(id: "a", expectedVersion: -1)',
        'cancelCommand(id: "")',
    ],
)
async def test_bad_input_is_refused(gateway: FakeGateway, mutation: str) -> None:
    response = await run(gateway, f"mutation {{ {mutation} {{ status }} }}")
    assert only_error(response)[0] == "BAD_USER_INPUT"
    assert gateway.journal.accepted == []


async def test_a_full_journal_is_unavailable(gateway: FakeGateway) -> None:
    gateway.journal.defect = JournalFull()
    response = await run(gateway, 'mutation { addContact(name: "Ada") { status } }')
    assert only_error(response) == ("UNAVAILABLE", JournalFull.__doc__)


async def test_mutations_of_a_document_are_accepted_in_its_order(gateway: FakeGateway) -> None:
    fields = " ".join(f'm{n}: addContact(name: "{n}") {{ status }}' for n in range(200))
    response = await run(gateway, f"mutation {{ {fields} }}")
    assert "errors" not in response
    assert [name_of(command) for command in gateway.journal.accepted] == [str(n) for n in range(200)]


async def test_a_queued_command_can_be_cancelled(gateway: FakeGateway) -> None:
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    response = await run(
        gateway, 'mutation { cancelCommand(id: "k") { status message commandId contactId } }', actor="grace"
    )
    expected = {"status": "OK", "message": "Queued to cancel", "commandId": "k", "contactId": aggregate_id_of("k")}
    assert response == {"data": {"cancelCommand": expected}}
    assert gateway.journal.rows["k"].cancel_requested_by == "grace"


async def test_an_unknown_or_settled_command_cannot_be_cancelled(gateway: FakeGateway) -> None:
    mutation = 'mutation { cancelCommand(id: "k") { status } }'
    assert only_error(await run(gateway, mutation))[0] == "NOT_FOUND"
    await run(gateway, 'mutation { addContact(name: "Ada", commandId: "k") { status } }')
    gateway.journal.end("k")
    assert only_error(await run(gateway, mutation))[0] == "CONFLICT"


# --- Documents


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ a: " + "b { a: " * 30 + "c" + "}" * 31, "GRAPHQL_VALIDATION_FAILED"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(501)) + "}", "GRAPHQL_VALIDATION_FAILED"),
        ("{ __typename " + "#\n" * 2_001 + "}", "GRAPHQL_PARSE_FAILED"),
        ("{" + "a " * 15_000 + "}", "GRAPHQL_PARSE_FAILED"),
        ("{ __typename " + " " * 200_000 + "}", "GRAPHQL_PARSE_FAILED"),
        ("{ a(b: " + "[" * 5_000 + "]" * 5_000 + ") }", "GRAPHQL_PARSE_FAILED"),
    ],
)
async def test_a_document_that_is_too_large_is_refused(query: str, code: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        await executor().prepare(GraphQLRequest(query, None, None, None))
    assert refused.value.errors[0]["extensions"]["code"] == code


async def test_fragments_that_multiply_are_counted_as_often_as_they_are_spread() -> None:
    query = "{ ...f0 }" + "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
    query += "fragment f40 on Query { __typename }"
    with pytest.raises(RequestRefused, match="too large"):
        await executor().prepare(GraphQLRequest(query, None, None, None))


async def test_fragments_that_spread_each_other_in_a_circle_are_refused() -> None:
    query = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"
    with pytest.raises(RequestRefused) as refused:
        await executor().prepare(GraphQLRequest(query, None, None, None))
    assert refused.value.errors[0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
