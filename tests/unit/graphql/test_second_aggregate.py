"""An aggregate besides contacts: its part of the schema is made from its declaration, and works."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from django.db import models
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from google.protobuf.message_factory import GetMessageClass
from graphql import parse, validate

from cqrs.aggregate import Aggregate, Effect, registry
from cqrssite.graphql import aggregate as aggregate_schema
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.executor import Executor
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.schema import executor_of, schema_of
from protocol.contact_pb2 import Contact
from protocol.cqrs_notice_pb2 import Notice
from tests.support.fake_gateway import FakeGateway, stamp

FIELD = descriptor_pb2.FieldDescriptorProto


def _messages() -> dict[str, Any]:
    """StickyNote {id, version, last_updated, text, optional stars, is_done} and TearOff {id}."""
    file = descriptor_pb2.FileDescriptorProto(name="test_sticky_note.proto", package="test", syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    state = file.message_type.add(name="StickyNote")
    for number, (name, kind) in enumerate(
        [("id", FIELD.TYPE_STRING), ("version", FIELD.TYPE_INT64), ("text", FIELD.TYPE_STRING)], 1
    ):
        state.field.add(name=name, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    state.field.add(
        name="stars",
        number=4,
        type=FIELD.TYPE_INT32,
        label=FIELD.LABEL_OPTIONAL,
        proto3_optional=True,
        oneof_index=0,
    )
    state.field.add(name="is_done", number=5, type=FIELD.TYPE_BOOL, label=FIELD.LABEL_OPTIONAL)
    state.field.add(
        name="last_updated",
        number=6,
        type=FIELD.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=FIELD.LABEL_OPTIONAL,
    )
    state.oneof_decl.add(name="_stars")
    tear_off = file.message_type.add(name="TearOff")
    tear_off.field.add(name="id", number=1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL)
    pool = descriptor_pool.Default()
    pool.Add(file)  # type: ignore[no-untyped-call]
    names = ("StickyNote", "TearOff")
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"test.{name}")) for name in names}  # type: ignore[no-untyped-call]


MESSAGES = _messages()
StickyNote, TearOff = MESSAGES["StickyNote"], MESSAGES["TearOff"]


class Columns:
    """The part of a store that the schema looks at."""

    columns = {
        "text": models.CharField(max_length=50, help_text="What is on it."),
        "stars": models.IntegerField(null=True),
        "is_done": models.BooleanField(),
    }


def declared() -> Mapping[str, Aggregate]:
    note = Aggregate("sticky_note", state=StickyNote, store=Columns())  # type: ignore[arg-type]

    @note.verb(StickyNote, Effect.CREATES, "Puts a note up.")
    def put_up(_none: None, wanted: Any) -> Any:
        return wanted

    @note.verb(TearOff, Effect.DELETES)
    def tear_off(note: Any, _wanted: Any) -> Any:
        return note

    return {**registry(), "sticky_note": note}


@pytest.fixture(scope="module")
def schema() -> Any:
    return schema_of(declared())


@pytest.fixture
def executor(schema: Any) -> Executor:
    return executor_of(schema)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


async def run(executor: Executor, gateway: FakeGateway, query: str, *, plainly: bool = False) -> Any:
    operation = await executor.prepare(GraphQLRequest(query, None, None, None))
    execute = executor.execute_plainly if plainly else executor.execute
    return await execute(operation, context(gateway))


def context(gateway: FakeGateway) -> Context:
    async def nobody() -> str:
        return ""

    return Context(lambda: gateway, nobody, settle_seconds=1)


def test_its_types_arguments_and_descriptions_come_from_the_declaration(schema: Any) -> None:
    text = str(schema)
    for part in (
        '"""A sticky note as stored."""\ntype StickyNote {\n  id: String\n  text: String!\n  stars: Int\n'
        "  isDone: Boolean!\n",
        '"""Puts a note up."""\n  putUpStickyNote(\n    """What is on it."""\n    text: String!\n    stars: Int\n'
        "    isDone: Boolean!\n",
        "tearOffStickyNote(\n    id: String!\n",
        "stickyNote(\n    ",
        "listStickyNotes(\n    ",
        "stickyNoteChanged(\n    ",
        "type StickyNoteNotice {",
        "enum CommandKind {\n  ADD\n  UPDATE\n  DELETE\n  PUT_UP\n  TEAR_OFF\n}",
    ):
        assert part in text, part
    assert "getStickyNote" not in text


def test_contacts_are_beside_it_as_they_are_alone(schema: Any) -> None:
    document = """query Q { contact(id: "a") { id name } getContact(id: "a") { id } command(id: "k") { stickyNoteId } }
        mutation M { addContact(name: "Ada") { contactId stickyNoteId } }
        subscription S { contactChanged { contact { name } } }"""
    assert validate(schema.graphql_schema, parse(document)) == []


@pytest.mark.parametrize("plainly", [False, True])
async def test_it_is_written_read_and_listed(executor: Executor, gateway: FakeGateway, plainly: bool) -> None:
    query = """mutation { putUpStickyNote(text: " milk ", isDone: true, commandId: "k") {
        message commandId stickyNoteId contactId } }"""
    response = await run(executor, gateway, query, plainly=plainly)
    (command,) = gateway.journal.accepted
    answer = {"message": "Queued to put_up", "commandId": "k", "stickyNoteId": command.aggregate_id, "contactId": None}
    assert response == {"data": {"putUpStickyNote": answer}}
    assert (command.kind, StickyNote.FromString(command.body)) == (
        "sticky_note.put_up",
        StickyNote(text="milk", is_done=True),
    )
    response = await run(executor, gateway, '{ command(id: "k") { kind stickyNoteId contactId } }', plainly=plainly)
    shown = {"kind": "PUT_UP", "stickyNoteId": command.aggregate_id, "contactId": None}
    assert response == {"data": {"command": shown}}

    gateway.reader.others["sticky_note", "n"] = StickyNote(
        id="n", text="milk", stars=0, last_updated=stamp(), version=2
    )
    gateway.reader.others["sticky_note", "m"] = StickyNote(id="m", text="tea")
    query = (
        '{ stickyNote(id: "n") { id text stars isDone lastUpdated version } listStickyNotes(count: 5) { id stars } }'
    )
    response = await run(executor, gateway, query, plainly=plainly)
    time = "2025-12-31T12:00:00.005Z"
    shown = {"id": "n", "text": "milk", "stars": 0, "isDone": False, "lastUpdated": time, "version": 2}
    listed = [{"id": "n", "stars": 0}, {"id": "m", "stars": None}]
    assert response == {"data": {"stickyNote": shown, "listStickyNotes": listed}}


async def test_one_that_does_not_exist_is_not_found_by_its_own_name(executor: Executor, gateway: FakeGateway) -> None:
    gateway.reader.add("n")
    for query in ('{ stickyNote(id: "n") { id } }', 'mutation { tearOffStickyNote(id: "n") { status } }'):
        (error,) = (await run(executor, gateway, query))["errors"]
        assert (error["extensions"]["code"], error["message"]) == ("NOT_FOUND", "sticky_note with id n not found")


async def test_a_contact_of_the_same_id_makes_it_neither_pending_nor_there(
    executor: Executor, gateway: FakeGateway
) -> None:
    gateway.reader.add("n")
    query = """mutation { a: updateContact(id: "n", name: "x", commandId: "k") { status }
        b: tearOffStickyNote(id: "n") { status } }"""
    response = await run(executor, gateway, query)
    assert response["errors"][0]["path"] == ["b"]
    assert [command.kind for command in gateway.journal.accepted] == ["contact.update"]


async def test_its_subscription_has_its_own_notices_alone(executor: Executor, gateway: FakeGateway) -> None:
    query = """subscription { stickyNoteChanged(afterPosition: "0", stickyNoteId: "n") {
        position stickyNoteId stickyNote { text } } }"""
    operation = await executor.prepare(GraphQLRequest(query, None, None, None))
    gateway.feed.tell(Notice.ADDED, "n", contact=Contact(id="n", name="Ada"))
    state = StickyNote(id="n", text="milk").SerializeToString()
    gateway.feed.tell(Notice.ADDED, "m", aggregate="sticky_note", state=state)
    gateway.feed.tell(Notice.ADDED, "n", aggregate="sticky_note", state=state)
    async with aclosing(executor.subscribe(operation, context(gateway))) as texts, asyncio.timeout(5):  # type: ignore[type-var]
        text = await anext(texts)
    shown = '{"position":"3","stickyNoteId":"n","stickyNote":{"text":"milk"}}'
    assert text == f'{{"data":{{"stickyNoteChanged":{shown}}}}}'


class Counted:
    """A state message that counts how often it is parsed."""

    DESCRIPTOR = StickyNote.DESCRIPTOR

    def __init__(self) -> None:
        self.parsed = 0

    def FromString(self, serialised: bytes) -> Any:
        self.parsed += 1
        return StickyNote.FromString(serialised)


async def subscribed(executor: Executor, gateway: FakeGateway, queries: Sequence[str]) -> None:
    for query in queries:
        operation = await executor.prepare(GraphQLRequest(query, None, None, None))
        async with aclosing(executor.subscribe(operation, context(gateway))) as texts, asyncio.timeout(5):  # type: ignore[type-var]
            await anext(texts)


async def test_a_state_is_parsed_once_for_all_subscriptions_and_only_where_one_shows_it(
    gateway: FakeGateway,
) -> None:
    counted = Counted()
    note = declared()["sticky_note"]
    counting = Aggregate(note.name, counted, note.store, verbs=note.verbs)  # type: ignore[arg-type]
    executor = executor_of(schema_of({"sticky_note": counting}))
    state = StickyNote(id="n", text="milk").SerializeToString()
    gateway.feed.tell(Notice.ADDED, "n", aggregate="sticky_note", state=state)
    changed = 'subscription { stickyNoteChanged(afterPosition: "0") { position %s } }'
    await subscribed(executor, gateway, [changed % "kind", changed % "stickyNoteId"])
    assert counted.parsed == 0
    # Different selections, none of which may share the text of another.
    shown = ["text", "id text", "text id", "id", "isDone"]
    await subscribed(executor, gateway, [changed % f"stickyNote {{ {each} }}" for each in shown])
    assert counted.parsed == 1


def test_a_field_that_graphql_has_no_scalar_for_is_named() -> None:
    with pytest.raises(TypeError, match=r"protocol\.Contact\.meta cannot be shown"):
        aggregate_schema._scalar(Contact.DESCRIPTOR.fields_by_name["meta"])
