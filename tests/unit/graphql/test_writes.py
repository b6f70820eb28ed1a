"""Mutations of one document: accepted together, and nobody can tell it from one by one."""

import asyncio
import copy
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cqrs.journal.accepted import Accepted
from cqrs.journal.errors import JournalFull, JournalUnavailable
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.schema import executor_of, schema
from protocol.cqrs_command_pb2 import Command
from protocol.ids import aggregate_id_of
from tests.support.fake_gateway import FakeGateway, FakeJournal, name_of

OLD = "old"
"""The key of an add that was applied long ago, and whose contact was deleted since."""


# graphql-core leaves the mutations behind one that fails uncalled, each a coroutine that is never awaited.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _leaves_no_coroutines() -> Iterator[None]:
    """So that none is found in the middle of another test."""
    yield
    gc.collect()


class Journal(FakeJournal):
    """Takes all or none, as the real one, and at most `room` new commands."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.calls: list[int] = []

    async def accept(self, batch: Sequence[Command], *, fresh: bool = False) -> list[Accepted]:
        self.calls.append(len(batch))
        before = copy.copy(self.rows), list(self.accepted)
        await asyncio.sleep(0)
        try:
            answers = await super().accept(batch, fresh=fresh)
            if len(self.accepted) > self.room:
                raise JournalFull
        except Exception:
            self.rows, self.accepted = before
            raise
        return answers


class Gateway(FakeGateway):
    """Stores the contacts a and b; has one old command."""

    def __init__(self, *, room: int = 1000, away: bool = False, defect: Exception | None = None) -> None:
        super().__init__()
        self.journal = Journal(room)
        self.reader.add("a")
        self.reader.add("b")
        self.reader.away = away
        self.journal.defect = defect


async def prepared(gateway: Gateway) -> Gateway:
    query = f'mutation {{ addContact(name: "Ada", commandId: "{OLD}") {{ status }} }}'
    room, defect = gateway.journal.room, gateway.journal.defect
    gateway.journal.room, gateway.journal.defect = 1000, None
    await run(gateway, query, plainly=True)
    gateway.journal.end(OLD)
    gateway.journal.accepted.clear()
    gateway.journal.calls.clear()
    gateway.journal.room, gateway.journal.defect = room, defect
    return gateway


async def run(gateway: Gateway, query: str, *, plainly: bool = False) -> dict[str, Any]:
    async def actor() -> str:
        return "grace"

    executor = executor_of(schema)
    operation = await executor.prepare(GraphQLRequest(query, None, None, None))
    execute = executor.execute_plainly if plainly else executor.execute
    return await execute(operation, Context(lambda: gateway, actor, settle_seconds=1))


def counting() -> Callable[[], str]:
    numbers: Iterator[int] = iter(range(1_000_000))
    return lambda: f"minted-{next(numbers)}"


def outcome(make: Callable[[], Gateway], query: str, *, plainly: bool) -> tuple[bytes, list[bytes]]:
    """The response, and the commands that were accepted, in their order."""

    async def execute() -> tuple[bytes, list[bytes]]:
        gateway = await prepared(make())
        response = await run(gateway, query, plainly=plainly)
        for error in response.get("errors", ()):
            if "errorId" in error["extensions"]:
                error["message"] = error["extensions"]["errorId"] = "made up"
        return orjson.dumps(response), [command.SerializeToString() for command in gateway.journal.accepted]

    with mock.patch("cqrs.journal.commands.new_command_id", counting()):
        return asyncio.run(execute())


# The contacts of the first minted ids and of keys: so that one mutation is about what another adds.
IDS = [
    "a",
    "b",
    "gone",
    aggregate_id_of("minted-0"),
    aggregate_id_of("minted-1"),
    aggregate_id_of("k"),
    aggregate_id_of(OLD),
]
NAMES = ["Ada", "Grace", "Grace", "Ada", ""]


@st.composite
def documents(draw: st.DrawFn) -> str:
    fields = []
    for place in range(draw(st.integers(1, 7))):
        key = draw(st.sampled_from([None] * 5 + ["k", "m", OLD, "no key"]))
        arguments = f', commandId: "{key}"' if key else ""
        kind = draw(st.sampled_from(["add", "add", "update", "update", "delete", "delete", "cancel"]))
        if kind == "add":
            field = f'addContact(name: "{draw(st.sampled_from(NAMES))}"{arguments})'
        elif kind == "update":
            version = draw(st.sampled_from(["", "", ", expectedVersion: 1", ", expectedVersion: 0"]))
            name, contact_id = draw(st.sampled_from(NAMES)), draw(st.sampled_from(IDS))
            field = f'updateContact(id: "{contact_id}", name: "{name}"{arguments}{version})'
        elif kind == "delete":
            field = f'deleteContact(id: "{draw(st.sampled_from(IDS))}"{arguments})'
        elif draw(st.integers(1, 4)) == 1:
            field = f'cancelCommand(id: "{draw(st.sampled_from(["minted-0", "k", OLD, "unknown"]))}")'
        else:
            field = 'addContact(name: "Eve")'
        fields.append(f"m{place}: {field} {{ status message commandId contactId }}")
    return f"mutation {{ {' '.join(fields)} }}"


@settings(max_examples=150, deadline=None)
@given(
    documents(),
    st.sampled_from([1000, 1000, 1000, 0, 1, 3]),
    st.booleans(),
    st.sampled_from([None, None, None, None, JournalUnavailable("away"), RuntimeError("secret")]),
)
def test_together_is_as_one_by_one(query: str, room: int, away: bool, defect: Exception | None) -> None:
    def make() -> Gateway:
        return Gateway(room=room, away=away, defect=defect)

    together, one_by_one = (outcome(make, query, plainly=plainly) for plainly in (False, True))
    assert together == one_by_one, query


async def accepted(query: str, **options: Any) -> tuple[Gateway, dict[str, Any]]:
    gateway = await prepared(Gateway(**options))
    return gateway, await run(gateway, query)


async def test_mutations_of_one_document_are_one_journal_commit() -> None:
    adds = " ".join(f'm{n}: addContact(name: "Ada {n}") {{ contactId }}' for n in range(100))
    gateway, response = await accepted(f"mutation {{ {adds} }}")
    assert gateway.journal.calls == [100]
    assert [name_of(command) for command in gateway.journal.accepted] == [f"Ada {n}" for n in range(100)]
    assert response["data"]["m99"]["contactId"] == gateway.journal.accepted[99].aggregate_id


async def test_what_is_about_the_same_contact_is_accepted_together_too() -> None:
    query = """mutation { a: updateContact(id: "a", name: "Ada") { status } b: deleteContact(id: "a") { status }
        c: updateContact(id: "b", name: "Bea") { status } }"""
    gateway, response = await accepted(query)
    assert gateway.journal.calls == [3]
    # The second is about a contact that is pending by then.
    assert len(gateway.reader.timeouts) == 2
    assert "errors" not in response


async def test_what_precedes_a_mutation_that_fails_is_accepted_and_nothing_after_it() -> None:
    query = """mutation { a: addContact(name: "Ada") { status } b: updateContact(id: "gone", name: "x") { status }
        c: addContact(name: "Bea") { status } }"""
    gateway, response = await accepted(query)
    assert [name_of(command) for command in gateway.journal.accepted] == ["Ada"]
    assert response["data"] is None
    (error,) = response["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["b"], "NOT_FOUND")


@pytest.mark.parametrize("room", [0, 2])
async def test_of_what_the_journal_has_no_room_for_it_takes_what_fits(room: int) -> None:
    adds = " ".join(f'm{n}: addContact(name: "Ada {n}") {{ status }}' for n in range(4))
    gateway, response = await accepted(f"mutation {{ {adds} }}", room=room)
    assert len(gateway.journal.accepted) == room
    assert response["errors"][0]["path"] == [f"m{room}"]


async def test_a_key_that_was_settled_long_ago_does_not_make_its_contact_pending() -> None:
    query = f"""mutation {{ a: addContact(name: "Ada", commandId: "{OLD}") {{ status }}
        b: deleteContact(id: "{aggregate_id_of(OLD)}") {{ status }} }}"""
    _, response = await accepted(query)
    assert response["errors"][0]["path"] == ["b"]
