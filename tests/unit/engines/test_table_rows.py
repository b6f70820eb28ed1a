"""Rows of a declared table, on each engine, whatever words its names are."""

from collections.abc import Iterator

import pytest
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from cqrs.aggregate import Stored
from cqrs.fields import AggregateRow
from cqrs.store.database import ALIAS
from cqrs.store.table import TableStore
from protocol.contact_pb2 import Contact

pytestmark = pytest.mark.django_db(transaction=True, databases=[ALIAS])

with isolate_apps("cqrs"):

    class User(AggregateRow):
        name = models.CharField(max_length=20, db_column="order")

        class Meta:
            app_label = "cqrs"
            db_table = "user"

        def __str__(self) -> str:
            return self.name


@pytest.fixture
def _table() -> Iterator[None]:
    with connections[ALIAS].schema_editor() as editor:
        editor.create_model(User)
    yield
    with connections[ALIAS].schema_editor() as editor:
        editor.delete_model(User)


@pytest.mark.usefixtures("_table")
def test_rows_whose_names_are_words_of_sql_are_added_changed_and_deleted() -> None:
    store = TableStore(User, Contact)
    ada, grace = Contact(id="a", name="Ada", version=1), Contact(id="a", name="Grace", version=2)
    ada.last_updated.seconds = grace.last_updated.seconds = 1_764_000_000
    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        store.save(cursor, {}, {"a": Stored(ada, 1)})
        assert store.load(cursor, ["a", "b"]) == {"a": Stored(ada, 1)}
        store.save(cursor, {"a": Stored(ada, 1)}, {"a": Stored(grace, 1)})
        assert store.first(cursor, 5) == [grace.SerializeToString()]
        store.save(cursor, {"a": Stored(grace, 1)}, {"a": None})
        assert store.first(cursor, 5) == []
