"""Plans answer what graphql-core answers, byte for byte: generated documents are executed by both."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import orjson
import pytest
from graphql import IntValueNode, StringValueNode, Visitor, parse, visit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cqrs.query.errors import ReaderUnavailable
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine import rendering
from cqrssite.graphql.engine.documents import Documents
from cqrssite.graphql.engine.errors import RequestRefused
from cqrssite.graphql.engine.executor import Executor, Response
from cqrssite.graphql.engine.literals import lift, places
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.schema import executor_of, schema
from protocol.contact_pb2 import Contact
from protocol.cqrs_notice_pb2 import Notice
from tests.support.fake_gateway import FakeGateway, Row, State, stamp

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
EVENTS = [
    Notice(position="1:a", number=1, kind=Notice.ADDED, aggregate_id="a", command_id="k", committed_at=stamp(1)),
    Notice(
        position="2:b",
        number=2,
        kind=Notice.DELETED,
        aggregate_id="a",
        state=Contact(id="a", name="Ada", version=2).SerializeToString(),
        committed_at=stamp(2),
    ),
    Notice(position="3:c", number=3, kind=Notice.REJECTED, aggregate_id="b", reason=Notice.CONFLICT, message="stale"),
    # A kind that is not known here: the newer database's.
    Notice(position="4:d", number=4, kind=99, aggregate_id="b"),  # type: ignore[arg-type]
]


def gateway() -> FakeGateway:
    """With contacts of every kind: whole, foreign (no time, no version), and one that cannot be shown (its version)."""
    made = FakeGateway()
    made.reader.add("a", 'Ada "quoted" ü\u2028')
    made.reader.contacts["b"] = Contact(id="b", name="")
    made.reader.contacts["c"] = Contact(id="c", name="Grace", last_updated=stamp(7), version=2**40)
    for command_id, state in (("k", State.QUEUED), ("r", State.REJECTED), ("x", "UNHEARD OF")):
        made.journal.rows[command_id] = Row(
            command_id=command_id,
            aggregate="contact",
            verb="add",
            aggregate_id="a",
            body=b"",
            expected_version=None,
            actor="",
            state=state,
            reason="CONFLICT" if command_id == "r" else "",
            accepted_at=MOMENT,
            takes_effect_at=MOMENT + timedelta(seconds=3),
            settled_at=MOMENT if command_id == "r" else None,
        )
    return made


def context(of: FakeGateway) -> Context:
    async def nobody() -> str:
        return ""

    return Context(lambda: of, nobody, settle_seconds=0.001)


def answer(run: Callable[[], Any]) -> bytes:
    """The bytes of a response, whatever it is. (Ids of defects are made up: they are left out.)"""
    try:
        response: Response = asyncio.run(run())
    except RequestRefused as refused:
        response = {"refused": refused.errors}
    for error in response.get("errors", ()):
        if "errorId" in error["extensions"]:
            error["message"] = error["extensions"]["errorId"] = "made up"
    return orjson.dumps(response)


def both(query: str, variables: dict[str, Any] | None, name: str | None, root: Any = None) -> tuple[bytes, bytes]:
    """What the plan answers, a second time and with its literals lifted out, and what graphql-core answers."""
    request = GraphQLRequest(query, variables, name, None)
    planned, plain = executor_of(schema), executor_of(schema)
    # The same document with other literals comes first: it is the one that is compiled.
    with_others = GraphQLRequest(others(query), variables, name, None)
    answer(lambda: execute(planned, with_others, gateway(), root, plainly=False))
    return (
        answer(lambda: execute(planned, request, gateway(), root, plainly=False)),
        answer(lambda: execute(plain, request, gateway(), root, plainly=True)),
    )


async def execute(
    executor: Executor, request: GraphQLRequest, services: FakeGateway, root: Any, *, plainly: bool
) -> Response:
    operation = await executor.prepare(request)
    run = executor.execute_plainly if plainly else executor.execute
    return await run(operation, context(services), root)


def others(query: str) -> str:
    """The document with other literals, of other lengths, where some can be lifted."""
    if lift(query) is None:
        return query
    for place in reversed(places(query)):
        query = (
            query[:place] + ('"other, longer ' if query[place] == '"' else "1") + query[place + (query[place] == '"') :]
        )
    return query


# --- Documents. Most are valid; the others are refused by both for the same reasons.

LEAVES = {
    "Contact": ["id", "name", "last_updated", "lastUpdated", "version", "__typename"],
    "Command": ["id", "kind", "contactId", "state", "reason", "actor", "acceptedAt", "settledAt", "version", "message"],
    "RequestResponse": ["status", "message", "commandId", "contactId", "__typename"],
    "ContactNotice": ["position", "kind", "commandId", "contactId", "message", "reason", "committedAt", "__typename"],
}
OBJECTS = {"ContactNotice": [("contact", "Contact")]}
IDS = ["a", "b", "c", "gone", "k", "r", "x", "", "a b", "\\u0041", 'a\\"#', "naïve"]


def chance(draw: st.DrawFn, out_of: int) -> bool:
    return draw(st.integers(1, out_of)) == 1


def directive(draw: st.DrawFn) -> str:
    if not chance(draw, 5):
        return ""
    kind = draw(st.sampled_from(["skip", "include"]))
    return f" @{kind}(if: {draw(st.sampled_from(['true', 'false', '$yes', '$no', '$maybe']))})"


def string(draw: st.DrawFn, values: list[str]) -> str:
    value = draw(st.sampled_from(values))
    if chance(draw, 12):
        return f'"""{value}"""'
    if chance(draw, 60):
        return draw(st.sampled_from(["null", "7", "$count", "true", '["a"]']))
    return f'"{value}"' if draw(st.booleans()) else draw(st.sampled_from(["$id", "$other", "$optional"]))


def number(draw: st.DrawFn) -> str:
    if chance(draw, 60):
        return draw(st.sampled_from(["2147483648", "123456789012", "1.5", "null", "$id", "007"]))
    return draw(st.sampled_from(["$count", "$many", "0", "1", "3", "-1", "1001", "-0"]))


def alias(draw: st.DrawFn, name: str) -> str:
    """Mostly one that no other field has: those of one name have to be the same."""
    if chance(draw, 40):
        return draw(st.sampled_from(["one: ", "two: "]))
    return draw(st.sampled_from(["", f"{name}1: ", f"{name}2 : "]))


def selections(draw: st.DrawFn, kind: str, depth: int = 0) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        choice = draw(st.integers(1, 12))
        if choice == 1 and depth < 2:
            condition = draw(st.sampled_from(["", f" on {kind}"]))
            parts.append(f"...{condition}{directive(draw)} {{ {selections(draw, kind, depth + 1)} }}")
        elif choice == 2:
            parts.append(f"...Of{kind}{directive(draw)}")
        elif choice in (3, 4) and kind in OBJECTS:
            name, inner = draw(st.sampled_from(OBJECTS[kind]))
            parts.append(f"{alias(draw, name)}{name}{directive(draw)} {{ {selections(draw, inner, depth + 1)} }}")
        elif choice == 5 and chance(draw, 30):
            parts.append("nobody")
        else:
            name = draw(st.sampled_from(LEAVES[kind]))
            parts.append(f"{alias(draw, name)}{name}{directive(draw)}")
    return draw(st.sampled_from([" ", "\n  ", ", ", ' # a "comment\n'])).join(parts)


def query_field(draw: st.DrawFn, place: int) -> str:
    name = draw(st.sampled_from(["contact", "contact", "getContact", "listContacts", "command", "__typename"]))
    if name == "__typename":
        return f"{alias(draw, name)}__typename{directive(draw)}"
    given = f"count:{draw(st.sampled_from(['', ' ', '  ']))}{number(draw)}"
    if name != "listContacts":
        given = f"id: {string(draw, IDS)}"
    if name != "command" and chance(draw, 6):
        given += f", afterCommand: {string(draw, ['k', 'r', 'gone', 'no id'])}"
    kind = "Command" if name == "command" else "Contact"
    label = alias(draw, name) if chance(draw, 6) else f"f{place}: "
    return f"{label}{name}({given}){directive(draw)} {{ {selections(draw, kind)} }}"


def document(draw: st.DrawFn, operation: str, fields: list[str]) -> str:
    declared = {
        "id": draw(st.sampled_from(["String!", 'String! = "b"', 'String = "b"'])),
        "other": draw(st.sampled_from(['String! = "a"', "String!"])),
        "optional": draw(st.sampled_from(["String", 'String = "c"'])),
        "count": draw(st.sampled_from(["Int!", "Int = 2", "Int! = 3"])),
        "many": draw(st.sampled_from(["Int! = 1", "Int!"])),
        "yes": "Boolean!",
        "no": draw(st.sampled_from(["Boolean! = false", "Boolean = false"])),
        "maybe": draw(st.sampled_from(["Boolean = true", "Boolean! = true"])),
    }
    body = "{ " + draw(st.sampled_from([" ", "\n", " , "])).join(fields) + " }"
    fragments = ""
    # Only what is used: all else is refused.
    for kind in LEAVES:
        if f"...Of{kind}" in body:
            fragments += f" fragment Of{kind} on {kind} {{ {selections(draw, kind, 2).replace(f'...Of{kind}', 'id')} }}"
    used = [f"${name}: {kind}" for name, kind in declared.items() if f"${name}" in body + fragments]
    if chance(draw, 40):
        used = [each.replace("String", "ID").replace("Boolean!", "Boolean") for each in used]
    head = operation + (f" Q({', '.join(used)})" if used else " Q") + directive(draw) * chance(draw, 60)
    return f"{head} {body}{fragments}"


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 4), st.sampled_from([2**31, 1.0, 1.5, "a", "c", "gone", "", "x y", []])
)
GIVEN = {
    "id": st.sampled_from(["a", "b", "c", "gone"]),
    "other": st.sampled_from(["a", "c", ""]),
    "optional": st.sampled_from(["a", None]),
    "count": st.integers(-1, 5),
    "many": st.integers(0, 3),
    "yes": st.booleans(),
    "no": st.booleans(),
    "maybe": st.booleans(),
}


def variables(draw: st.DrawFn) -> dict[str, Any] | None:
    if chance(draw, 40):
        return None
    given = {name: draw(VALUES if chance(draw, 40) else values) for name, values in GIVEN.items()}
    return {name: value for name, value in given.items() if not chance(draw, 40)} | {"unknown": 1}


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, dict[str, Any] | None]:
    fields = [query_field(draw, place) for place in range(draw(st.integers(1, 4)))]
    return document(draw, "query", fields), variables(draw)


@st.composite
def events(draw: st.DrawFn) -> tuple[str, dict[str, Any] | None]:
    given = draw(st.sampled_from(["", '(contactId: "a")', "(contactId: $optional)", '(afterPosition: "0")']))
    field = f"{alias(draw, 'contactChanged')}contactChanged{given} {{ {selections(draw, 'ContactNotice')} }}"
    return document(draw, "subscription", [field]), variables(draw)


def is_same(query: str, given_variables: dict[str, Any] | None, root: Any = None) -> None:
    planned, plain = both(query, given_variables, None, root)
    assert planned == plain, f"{query}\n{given_variables}\nplanned {planned.decode()}\nplain   {plain.decode()}"


several = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@several
@given(queries())
@example(('{ contact(id: "a") { id } contact(id: "a") { name } }', None))
@example(('{ one: contact(id: "gone") { id } two: contact(id: "gone") { id } }', None))
@example(('query ($id: String = "b") { contact(id: $id) { id } }', {"id": None}))
@example(("{ listContacts(count: 3) { version } }", None))
@example(('{ command(id: "x") { id state } }', None))
@example(('{ __type(name: "Contact") { name } }', None))
def test_a_query_is_answered_as_graphql_core_answers_it(asked: tuple[str, dict[str, Any] | None]) -> None:
    is_same(*asked)


@several
@given(events(), st.sampled_from(EVENTS))
def test_a_notice_is_told_as_graphql_core_tells_it(asked: tuple[str, dict[str, Any] | None], event: Notice) -> None:
    is_same(*asked, root=event)


@pytest.mark.parametrize("failure", [ReaderUnavailable("away"), RuntimeError("secret"), KeyError()])
def test_a_resolver_that_fails_is_told_as_graphql_core_tells_it(failure: Exception) -> None:
    def failing() -> FakeGateway:
        made = gateway()
        made.reader.defect = failure
        return made

    query = '{ a: contact(id: "a") { id } b: command(id: "k") { id } c: listContacts(count: 1) { id } }'
    executor = executor_of(schema)
    request = GraphQLRequest(query, None, None, None)
    planned = answer(lambda: execute(executor, request, failing(), None, plainly=False))
    plain = answer(lambda: execute(executor, request, failing(), None, plainly=True))
    assert planned == plain
    assert b'"b":{"id":"k"}' in planned


# --- What is compiled, and what is left to graphql-core


@contextmanager
def nothing_is_left() -> Iterator[None]:
    """Fails where graphql-core would execute."""
    with mock.patch.object(Executor, "execute_plainly", side_effect=AssertionError("graphql-core executes")):
        yield


@pytest.mark.parametrize(
    ("query", "given_variables"),
    [
        ('{ contact(id: "a") { id name last_updated version __typename } }', None),
        ("query ($id: String!) { contact(id: $id) { id } }", {"id": "a"}),
        ("query ($n: Int = 2, $no: Boolean!) { listContacts(count: $n) { id @skip(if: $no) ...F } }"
         " fragment F on Contact { name }", {"no": False}),
        ('{ a: command(id: "k") { state kind } b: __typename }', None),
        ('subscription { contactChanged(afterPosition: "0") { kind contact { name } } }', None),
    ],
)  # fmt: skip
def test_what_clients_ask_for_is_executed_by_plans(query: str, given_variables: dict[str, Any] | None) -> None:
    with nothing_is_left():
        executor = executor_of(schema)
        request = GraphQLRequest(query, given_variables, None, None)
        assert b'"data"' in answer(lambda: execute(executor, request, gateway(), EVENTS[1], plainly=False))


def test_documents_that_differ_in_literals_are_compiled_once() -> None:
    documents = Documents(schema.graphql_schema)
    first, _ = documents.get('{ contact(id: "a") { id } listContacts(count: 3) { id } }')
    with mock.patch("cqrssite.graphql.engine.documents.parsed", side_effect=AssertionError("it is parsed again")):
        second, literals = documents.get('{ contact(id: "another \\"one\\"") { id } listContacts(count: -17) { id } }')
    assert second is first
    assert literals == ('another "one"', -17)


@pytest.mark.parametrize(
    "query",
    [
        'query ($id: String = "a") { contact(id: $id) { id } }',
        '{ contact(id: "a") { id } contact(id: "a") { name } }',
        '{ __type(name: "Contact") { name } }',
    ],
)
def test_documents_whose_literals_decide_whether_they_are_valid_keep_them(query: str) -> None:
    documents = Documents(schema.graphql_schema)
    first, literals = documents.get(query)
    assert literals == ()
    assert documents.get(query)[0] is first
    other, _ = documents.get(query.replace('"a"', '"b"').replace('"Contact"', '"Command"'))
    assert other is not first


def test_a_conflict_between_literals_is_found_though_the_template_is_known() -> None:
    documents = Documents(schema.graphql_schema)
    documents.get('{ contact(id: "a") { id } contact(id: "a") { name } }')
    with pytest.raises(RequestRefused):
        documents.get('{ contact(id: "a") { id } contact(id: "b") { name } }')


def values_of(source: str) -> list[Any]:
    """The literals that the parser finds."""
    found: list[Any] = []

    class Values(Visitor):
        def enter_string_value(self, node: StringValueNode, *_rest: Any) -> None:
            found.append(node.value)

        def enter_int_value(self, node: IntValueNode, *_rest: Any) -> None:
            found.append(int(node.value))

    visit(parse(source), Values())
    return found


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.integers(-999_999_999, 999_999_999)), min_size=1, max_size=4), st.data())
def test_what_is_lifted_is_what_the_parser_finds(wanted: list[Any], data: st.DataObject) -> None:
    source = "{"
    for place, value in enumerate(wanted):
        raw = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
        source += data.draw(st.sampled_from([" ", "\n", ' # not "one", nor: 7\n'])) + f"f{place}(a: {raw})"
    source += "}"
    lifted = lift(source)
    if lifted is not None:
        assert list(lifted.literals) == wanted == values_of(source)
        # Whatever the values, what remains is the same.
        again = lift(source.replace("f0", "f0", 1))
        assert again == lifted


@pytest.mark.parametrize(
    "source",
    ['{ a(b: """x""") }', '{ a(b: "x) }', '{ a(b: "\\x") }', '{ a(b: "x\ny") }', '{ a(b: "\ud800") }', "{ a }",
     '{ a(b: "\\uD83D") }', '{ a(b: "\\u{1F600}") }', "{ a(b: 1.5, c: 1e5, d: 1234567890, e: 01) }"],
)  # fmt: skip
def test_where_there_is_a_doubt_nothing_is_lifted(source: str) -> None:
    assert lift(source) is None


def test_what_is_completed_once_is_not_remembered() -> None:
    completed: list[Any] = []

    def complete(value: Any) -> Any:
        completed.append(value)
        return value

    async def run() -> None:
        once = rendering.Once(complete)
        same = [1]
        assert once(same) is once(same)
        assert len(completed) == 1
        await asyncio.sleep(0)
        once(same)
        assert len(completed) == 2

    asyncio.run(run())
