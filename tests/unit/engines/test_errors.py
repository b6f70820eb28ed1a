"""What an error of the database means: a constraint of the model, a row, or the service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, connections, models, transaction
from django.db.models import Q
from django.test.utils import isolate_apps

from cqrs.engines import Engine, Violation, engine_of
from cqrs.store.apply import apply
from cqrs.store.database import ALIAS
from cqrs.store.models import Notice, ParkedCommand
from database_service.models import Contact
from tests.support.envelopes import add
from tests.support.recorded import kinds

pytestmark = pytest.mark.django_db(transaction=True, databases=[ALIAS])

with isolate_apps("cqrs"):

    class Team(models.Model):
        id = models.CharField(primary_key=True, max_length=20)

        class Meta:
            app_label = "cqrs"

        def __str__(self) -> str:
            return self.id

    class Member(models.Model):
        id = models.CharField("number", primary_key=True, max_length=20)
        email = models.CharField(max_length=20, unique=True, error_messages={"unique": "This address is taken."})
        nick = models.CharField(max_length=20)
        seat = models.IntegerField()
        age = models.PositiveIntegerField()
        team = models.ForeignKey(Team, models.DO_NOTHING)
        chief = models.ForeignKey("self", models.DO_NOTHING, null=True)

        class Meta:
            app_label = "cqrs"
            verbose_name = "member"
            constraints = [
                models.UniqueConstraint(fields=["team", "seat"], name="one_member_a_seat"),
                models.UniqueConstraint(
                    models.functions.Lower("nick"), name="nick_once", violation_error_message="This nick is taken."
                ),
                models.CheckConstraint(
                    condition=Q(seat__lt=100), name="seat_there_is", violation_error_message="There are 99 seats."
                ),
            ]

        def __str__(self) -> str:
            return self.id


COLUMNS = "id, email, nick, seat, age, team_id"
SOUND = {"id": "b", "email": "b@x", "nick": "bob", "seat": 2, "age": 30, "team_id": "red"}


@pytest.fixture
def _tables() -> Iterator[None]:
    """A team, red, with a member, a."""
    connection = connections[ALIAS]
    with connection.schema_editor() as editor:
        editor.create_model(Team)
        editor.create_model(Member)
    with connection.cursor() as cursor:
        engine = engine_of(ALIAS)
        engine.insert(cursor, "cqrs_team", "id", [["red"]])
        engine.insert(cursor, "cqrs_member", COLUMNS, [["a", "a@x", "ada", 1, 30, "red"]])
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Member)
        editor.delete_model(Team)


def error_of(work: Callable[[Any], object]) -> Exception:
    with pytest.raises(Exception) as raised, transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:  # noqa: PT011
        work(cursor)
    return raised.value


def inserted(**changed: object) -> Exception:
    """The error of a member's row that differs from a sound one by so much."""

    def work(cursor: Any) -> None:
        engine = engine_of(ALIAS)
        row = SOUND | changed
        engine.insert(cursor, "cqrs_member", COLUMNS, [list(row.values())])
        engine.check_references(cursor, Member, [row["id"]])

    return error_of(work)


@pytest.mark.parametrize(
    ("changed", "message", "reason"),
    [
        ({"id": "a"}, "Member with this Number already exists.", "CONFLICT"),
        ({"email": "a@x"}, "This address is taken.", "CONFLICT"),
        ({"seat": 1}, "Member with this Team and Seat already exists.", "CONFLICT"),
        ({"nick": "ADA"}, "This nick is taken.", "CONFLICT"),
        ({"seat": 100}, "There are 99 seats.", "INVALID"),
        ({"age": -1}, "Age is out of its range.", "INVALID"),
        ({"nick": None}, "Nick: This field cannot be null.", "INVALID"),
        ({"team_id": "blue"}, "team instance with id 'blue' is not a valid choice.", "INVALID"),
    ],
)
@pytest.mark.usefixtures("_tables")
def test_a_constraint_of_the_model_speaks_for_itself(
    engine: Engine, changed: dict[str, object], message: str, reason: Any
) -> None:
    error = inserted(**changed)
    assert engine.is_of_the_row(error)
    assert engine.violation(error, Member) == Violation(message, reason)
    assert engine.violation(error, Contact) is None


@pytest.mark.usefixtures("_tables")
def test_a_row_that_others_refer_to_is_not_deleted(engine: Engine) -> None:
    def work(cursor: Any) -> None:
        cursor.execute("DELETE FROM cqrs_team WHERE id = 'red'")
        engine.check_references(cursor, Team, ["red"])

    error = error_of(work)
    assert engine.is_of_the_row(error)
    assert engine.violation(error, Team) == Violation("Team is referred to by a member.", "INVALID")


@pytest.mark.usefixtures("_tables")
def test_a_row_that_rows_of_its_own_table_refer_to_is_not_deleted(engine: Engine) -> None:
    def work(cursor: Any) -> None:
        engine.insert(cursor, "cqrs_member", COLUMNS, [list(SOUND.values())])
        cursor.execute("UPDATE cqrs_member SET chief_id = 'a' WHERE id = 'b'")
        cursor.execute("DELETE FROM cqrs_member WHERE id = 'a'")
        engine.check_references(cursor, Member, ["a"])

    error = error_of(work)
    assert engine.is_of_the_row(error)
    violation = engine.violation(error, Member)
    assert violation is not None
    assert violation.reason == "INVALID"


@pytest.mark.usefixtures("_tables")
def test_sound_rows_break_no_reference(engine: Engine) -> None:
    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        engine.insert(cursor, "cqrs_member", COLUMNS, [list(SOUND.values())])
        engine.insert(cursor, "cqrs_team", "id", [["blue"]])
        cursor.execute("DELETE FROM cqrs_team WHERE id = 'blue'")
        engine.check_references(cursor, Member, ["b"])
        engine.check_references(cursor, Team, ["blue"])


@pytest.mark.usefixtures("_tables")
def test_a_value_that_no_column_can_hold_is_of_the_row_and_breaks_no_constraint(engine: Engine) -> None:
    error = inserted(seat=2**63)
    assert engine.is_of_the_row(error)
    assert engine.violation(error, Member) is None


@pytest.mark.parametrize(
    "statement",
    ["SELECT nothing FROM contact", "SELECT 1 FROM nowhere", "INSERT INTO contact (nothing) VALUES (1)", "x"],
)
def test_a_table_or_column_that_is_missing_is_not_of_the_row(engine: Engine, statement: str) -> None:
    error = error_of(lambda cursor: cursor.execute(statement))
    assert isinstance(error, Error)
    assert not engine.is_of_the_row(error)
    assert engine.violation(error, Contact) is None


@pytest.mark.parametrize("error", [TypeError("ours"), ValueError("ours"), OperationalError("disk full"), KeyError("x")])
def test_defects_and_a_database_in_trouble_are_not_of_the_row(engine: Engine, error: Exception) -> None:
    assert not engine.is_of_the_row(error)


@pytest.mark.usefixtures("_postgresql")
def test_without_a_right_nothing_is_parked_and_all_is_applied_once_it_is_granted() -> None:
    commands = [add(f"Ada {number}") for number in range(3)]
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("CREATE ROLE limited")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO limited")
        cursor.execute("REVOKE INSERT ON contact FROM limited")
        cursor.execute("SET ROLE limited")
        try:
            with pytest.raises(Error, match="permission denied"):
                apply(commands)
            assert not Notice.objects.exists()
            assert not ParkedCommand.objects.exists()
            cursor.execute("RESET ROLE")
            cursor.execute("GRANT INSERT ON contact TO limited")
            cursor.execute("SET ROLE limited")
            apply(commands)
            assert kinds(commands) == ["0:ADDED", "1:ADDED", "2:ADDED"]
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY limited")
            cursor.execute("DROP ROLE limited")
