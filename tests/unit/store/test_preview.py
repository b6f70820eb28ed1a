"""What would become of parked commands, tried now."""

import pytest

from cqrs.store import decide as decide_module
from cqrs.store.apply import apply
from cqrs.store.models import ParkedCommand
from cqrs.store.preview import asks_for, preview
from database_service.models import Contact
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from tests.support.envelopes import add, contact_of, delete, id_of, name_of, update

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])


def park(defects: set[str], *commands: Command) -> list[ParkedCommand]:
    """Parks the commands, each for a defect of its own or behind another, and mends the defects."""
    defects |= {id_of(command) for command in commands}
    apply(commands)
    defects.clear()
    return [ParkedCommand.objects.get(pk=id_of(command)) for command in commands]


def test_a_preview_says_what_applying_then_does(defects: set[str]):
    first, gone = add("Ada"), add("Bob")
    apply([first, gone])
    commands = [
        update(contact_of(first), "Grace", expected_version=1),
        delete(contact_of(gone)),
        update("nobody"),
        add("Eve"),
    ]
    previews = preview(park(defects, *commands))
    assert [each.state.name if each.state else "" for each in previews] == ["Ada", "Bob", "", ""]
    assert Contact.objects.count() == 2, "nothing changed yet"
    ParkedCommand.objects.all().delete()
    for each, notice in zip(previews, apply(commands).notices, strict=True):
        assert each.outcome.kind == notice.kind
        assert each.outcome.message == notice.message
        assert each.outcome.state is None or each.outcome.state.name == name_of(notice.state)


def test_several_of_one_contact_are_previewed_one_after_the_other(defects: set[str]):
    first = add("0")
    second = update(contact_of(first), "1", depends_on=id_of(first), expected_version=1)
    third = delete(contact_of(first), depends_on=id_of(second), expected_version=2)
    previews = preview(list(reversed(park(defects, first, second, third))))
    assert [each.outcome.kind for each in previews] == [Notice.ADDED, Notice.UPDATED, Notice.DELETED]


def test_one_behind_another_that_stays_parked_would_wait(defects: set[str], monkeypatch: pytest.MonkeyPatch):
    first = add("0")
    second = update(contact_of(first), "1", depends_on=id_of(first))
    rows = park(defects, first, second)
    (alone,) = preview(rows[1:])
    assert (alone.outcome, alone.waits_for) == (None, id_of(first))

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("still broken")

    monkeypatch.setattr("cqrs.store.preview.decide", fail)
    front, behind = preview(rows)
    assert (front.outcome, front.error) == (None, "ZeroDivisionError: still broken")
    assert behind.waits_for == id_of(first)


def test_an_amended_command_is_previewed_in_place_of_the_parked_one(defects: set[str]):
    first = add("Ada")
    apply([first])
    stale = update(contact_of(first), "Grace", expected_version=9)
    rows = park(defects, stale)
    assert preview(rows)[0].outcome.kind == Notice.REJECTED
    amended = update(contact_of(first), "Grace", expected_version=1, command_id=id_of(stale))
    (each,) = preview(rows, {id_of(stale): amended})
    assert (each.outcome.kind, decide_module.after(each.state, each.outcome).version) == (Notice.UPDATED, 2)


def test_a_command_is_put_in_words():
    assert asks_for(add("Ada")) == 'add "Ada"'
    assert asks_for(update("c1", "Ada", expected_version=3)) == 'update "Ada" at version 3'
    assert asks_for(delete("c1")) == "delete"
    assert asks_for(Command()) == "nothing"
