"""Functions made from declarations, blocks of commands, and what came of them."""

import inspect
import itertools
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import connections, models, transaction

from contacts_write import add_contact, add_contacts, await_for, command_state, update_contact, wait_for
from cqrs import functions
from cqrs.aggregate import Aggregate, Effect, registry
from cqrs.functions import functions_of
from cqrs.journal import api, state
from cqrs.journal.errors import InvalidCommand, UnknownCommand
from cqrs.journal.models import Command
from cqrs.journal.state import acommand_state
from cqrssite.testing import commands_take_effect_at_once
from tests.aggregates.note.messages_pb2 import Note, RemoveNote, RewriteNote, WriteNote
from tests.support.journals import uses_the_journal

pytestmark = pytest.mark.django_db(databases=["default", "contacts"])


# As in tests/aggregates/note, which is not installed.
_COLUMNS = {"text": models.CharField(help_text="What it says.", max_length=100)}
declared = Aggregate("note", state=Note, store=SimpleNamespace(columns=_COLUMNS))  # type: ignore[arg-type]


@declared.verb(WriteNote, Effect.CREATES, "Writes a note.")
def write(_none: None, _wanted: WriteNote) -> None: ...


@declared.verb(RewriteNote, Effect.CHANGES)
def rewrite(_note: Note, _wanted: RewriteNote) -> None: ...


@declared.verb(RemoveNote, Effect.DELETES)
def remove(_note: Note, _wanted: RemoveNote) -> None: ...


class TestDeclared:
    def test_each_verb_has_its_functions(self) -> None:
        assert sorted(functions_of(declared)) == [
            "aremove_note",
            "arewrite_note",
            "awrite_note",
            "awrite_notes",
            "remove_note",
            "rewrite_note",
            "write_note",
            "write_notes",
        ]

    def test_they_have_the_names_and_defaults_of_the_declaration(self) -> None:
        made = functions_of(declared)
        writing, rewriting = inspect.signature(made["write_note"]), inspect.signature(made["rewrite_note"])
        assert list(writing.parameters) == ["text", "author", "command_id", "actor"]
        assert (writing.parameters["text"].default, writing.parameters["author"].default) == (writing.empty, None)
        assert list(rewriting.parameters) == ["note_id", "text", "expected_version", "command_id", "actor"]
        assert "Writes a note." in (made["write_note"].__doc__ or "")
        assert "text: What it says." in (made["write_note"].__doc__ or "")
        assert "Raises InvalidCommand" in (made["awrite_note"].__doc__ or "")
        assert inspect.iscoroutinefunction(made["awrite_note"])

    def test_a_wrong_argument_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="colour"):
            functions.add_contact("Ada", colour="red")
        with pytest.raises(TypeError, match="name"):
            functions.add_contact()

    def test_the_answer_has_the_id_under_its_aggregates_name(self) -> None:
        accepted = functions.add_contact("Ada")
        assert accepted.contact_id == accepted.aggregate_id
        with pytest.raises(AttributeError, match="note_id"):
            _ = accepted.note_id

    def test_the_module_shows_what_it_offers_and_nothing_else(self) -> None:
        assert {"add_contact", "aadd_contacts", "wait_for", "await_for", "submit_many"} <= set(dir(functions))
        assert set(functions_of(registry()["contact"])) <= set(dir(functions))
        with pytest.raises(AttributeError, match="no attribute 'add_nothing'"):
            _ = functions.add_nothing


class TestMany:
    def test_many_are_accepted_in_their_order(self) -> None:
        accepted = add_contacts((f"name {number}" for number in range(450)), actor="grace")
        found = Command.objects.order_by("number")
        assert [each.command_id for each in accepted] == [each.command_id for each in found]
        assert {each.actor for each in found} == {"grace"}

    def test_an_iterable_without_end_is_read_a_block_at_a_time(self) -> None:
        read = itertools.count()
        answers = api.submit_many("contact.add", ({"name": f"name {number}"} for number in read))
        assert not Command.objects.exists()
        assert len(list(itertools.islice(answers, api.BLOCK + 1))) == api.BLOCK + 1
        assert Command.objects.count() == 2 * api.BLOCK
        assert next(read) <= 2 * api.BLOCK + 1

    def test_keys_make_a_second_run_a_repetition(self) -> None:
        keys = [f"key-{number}" for number in range(300)]
        names = [f"name {number}" for number in range(300)]
        assert add_contacts(names, command_ids=keys) == add_contacts(names, command_ids=iter(keys))
        assert Command.objects.count() == 300
        with pytest.raises(ValueError, match="shorter"):
            add_contacts(names, command_ids=keys[:200])

    @pytest.mark.django_db(databases=["default", "contacts"], transaction=True)
    def test_in_a_callers_transaction_all_are_accepted_or_none(self) -> None:
        def names() -> Iterator[str]:
            yield from (f"name {number}" for number in range(250))
            yield " "

        with pytest.raises(InvalidCommand), transaction.atomic():
            add_contacts(names())
        assert not Command.objects.exists()
        with pytest.raises(InvalidCommand):
            add_contacts(names())
        assert Command.objects.count() == api.BLOCK


class TestState:
    def test_it_is_told_in_the_words_of_graphql(self) -> None:
        accepted = add_contact("Ada", actor="grace")
        found = command_state(accepted.command_id)
        assert (found.id, found.kind, found.contact_id) == (accepted.command_id, "ADD", accepted.contact_id)
        assert (found.state, found.message, found.reason, found.version) == ("QUEUED", "", None, None)
        assert (found.actor, found.settled_at) == ("grace", None)
        with commands_take_effect_at_once():
            rejected = update_contact("nobody", "Ada")
        found = wait_for(rejected.command_id, 0)
        assert (found.state, found.reason, found.message) == (
            "REJECTED",
            "NOT_FOUND",
            "user with id nobody not found",
        )

    def test_what_is_unknown_is_an_error(self) -> None:
        for ask in (command_state, lambda command_id: wait_for(command_id, 5)):
            with pytest.raises(UnknownCommand, match="there is no command nothing"):
                ask("nothing")

    def test_it_gives_up_in_time_with_growing_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        accepted = add_contact("Ada")
        pauses: list[float] = []
        moment = [100.0]

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            moment[0] += seconds

        monkeypatch.setattr(state.time, "sleep", sleep)
        monkeypatch.setattr(state.time, "monotonic", lambda: moment[0])
        with pytest.raises(TimeoutError, match="still queued after 3 s"):
            wait_for(accepted.command_id, 3)
        assert pauses[0] == 0.005
        assert max(pauses) == 0.25
        assert sum(pauses) == pytest.approx(3)


@uses_the_journal
class TestWaiting:
    @pytest.fixture
    def settles_soon(self) -> Iterator[str]:
        accepted = add_contact("Ada")

        def settle() -> None:
            time.sleep(0.1)
            Command.objects.update(state="APPLIED", version=1, settled_at="2025-01-01T00:00:00Z")
            connections.close_all()

        thread = threading.Thread(target=settle)
        thread.start()
        yield accepted.command_id
        thread.join()

    def test_an_end_is_waited_for(self, settles_soon: str) -> None:
        assert wait_for(settles_soon, 10).version == 1

    async def test_an_end_is_awaited(self, settles_soon: str) -> None:
        assert (await await_for(settles_soon, 10)).state == "APPLIED"
        assert (await acommand_state(settles_soon)).state == "APPLIED"
        with pytest.raises(UnknownCommand):
            await await_for("nothing", 1)
