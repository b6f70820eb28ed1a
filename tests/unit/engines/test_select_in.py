"""Rows by a list of values: one statement finds what the ORM finds."""

import pytest

from cqrs.engines import select_in
from cqrs.store import batch_reads
from cqrs.store.apply import apply
from cqrs.store.database import cursor
from cqrs.store.models import Notice
from database_service.models import Contact
from protocol.cqrs_read_pb2 import Key
from protocol.rules import id_error
from tests.support.envelopes import add, contact_of

pytestmark = pytest.mark.django_db(databases=["contacts"])

CONTACTS = "SELECT id, name, version, last_updated FROM contact WHERE id IN ({})"
NUMBERS = "SELECT number, command_id FROM notice WHERE number IN ({})"


@pytest.mark.parametrize("count", [0, 1, 2, 500, 1200])
def test_the_same_rows_are_found_by_ids_and_by_numbers(count: int) -> None:
    commands = [add(f"Ada {number}") for number in range(count)]
    apply(commands)
    ids = [contact_of(command) for command in commands]
    with cursor() as on:
        assert len(list(select_in(on, CONTACTS, ids))) == count
        assert {row[0] for row in select_in(on, CONTACTS, ids)} == set(Contact.objects.values_list("id", flat=True))
        numbers = list(range(count + 10))
        assert len(list(select_in(on, NUMBERS, numbers))) == count
        assert sorted(select_in(on, NUMBERS, numbers)) == sorted(Notice.objects.values_list("number", "command_id"))


@pytest.mark.parametrize("odd", ["", "nobody", "Ädä \U0001f600", 'a"b', "a\\b", "%s", "a,b", "null", "1"])
def test_values_of_all_kinds_are_looked_for_as_they_are(odd: str) -> None:
    apply([add("Ada", command_id="one")])
    known = contact_of(add(command_id="one"))
    with cursor() as on:
        on.execute("INSERT INTO contact (id, name, version, last_updated, added_by) VALUES (%s, 'Odd', 1, 0, 7)", [odd])
        found = {row[0] for row in select_in(on, CONTACTS, [known, odd, odd, odd + "x"])}
        assert found == {known, odd}


def test_a_text_that_no_column_of_ours_holds_is_not_found() -> None:
    """NUL ends a text in JSON for SQLite, and PostgreSQL refuses it: no id has one, so nothing is found for it."""
    assert id_error("one\0two")
    command = add("Ada")
    apply([command])
    (answer,) = batch_reads.read([Key(aggregate="contact", id=contact_of(command) + "\0two")]).answer
    assert answer.error.startswith("id must be")
    assert not answer.state
