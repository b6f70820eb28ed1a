"""A batch of commands becomes effects and notices."""

import random
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connections

from cqrs.engines import engine_of
from cqrs.store import dead_letters, unit_of_work
from cqrs.store.apply import apply, retry_parked
from cqrs.store.database import ALIAS
from cqrs.store.dead_letters import RETRIES
from cqrs.store.models import Kind, Notice, ParkedCommand, Reason
from database_service.models import Contact
from protocol.contact_pb2 import Contact as ContactState
from protocol.cqrs_command_pb2 import Command
from tests.support.envelopes import add, cancelled, contact_of, delete, id_of, name_of, update
from tests.support.recorded import kinds

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

OUT_OF_INT64 = 2**63

REFUSAL = {
    "sqlite": [
        "CREATE TRIGGER refusal BEFORE INSERT ON notice WHEN NEW.summary = 'refuse me' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$",
        "CREATE TRIGGER refusal BEFORE INSERT ON notice FOR EACH ROW WHEN (NEW.summary = 'refuse me') "
        "EXECUTE FUNCTION refuse()",
    ],
}


@pytest.fixture
def refused_name() -> Iterator[str]:
    """A name whose row the database refuses, though every rule lets it pass."""
    name = "refuse me"
    with connections[ALIAS].cursor() as cursor:
        for statement in REFUSAL[cursor.db.vendor]:
            cursor.execute(statement)
        yield name
        cursor.execute("DROP TRIGGER refusal" + (" ON notice" if cursor.db.vendor == "postgresql" else ""))


# Effects and notices


def test_a_contact_is_added_updated_and_deleted(clock: list[int]):
    first = add("Ada", actor="root")
    contact_id = contact_of(first)
    apply([first])
    contact = Contact.objects.get(pk=contact_id)
    assert (contact.name, contact.version, contact.added_by) == ("Ada", 1, 1)

    clock[0] += 1500
    second = update(contact_id, " Grace ", depends_on=id_of(first))
    applied = apply([second])
    contact.refresh_from_db()
    assert (contact.name, contact.version, contact.added_by) == ("Grace", 2, 1)
    assert contact.last_updated.timestamp() == clock[0] / 1000
    (notice,) = applied.notices
    state = ContactState.FromString(notice.state)
    assert (state.id, state.name, state.version, notice.version) == (contact_id, "Grace", 2, 2)
    assert state.last_updated.ToMilliseconds() == notice.committed_at.ToMilliseconds() == clock[0]

    third = delete(contact_id, depends_on=id_of(second))
    (notice,) = apply([third]).notices
    assert not Contact.objects.exists()
    state = ContactState.FromString(notice.state)
    assert (state.name, state.version, notice.version) == ("Grace", 2, 2), "deleted, it shows its last state"
    assert state.last_updated.ToMilliseconds() == clock[0]

    assert kinds([first, second, third]) == ["0:ADDED", "1:UPDATED", "2:DELETED"]
    row = Notice.objects.get(pk=1)
    assert (row.actor, row.aggregate, row.command_kind, row.summary) == ("root", "contact", "contact.add", "Ada")


def test_one_batch_works_out_what_it_does_to_one_contact():
    first = add("Ada")
    contact_id = contact_of(first)
    again = add("Ada again", aggregate_id=contact_id)
    commands = [first, update(contact_id, "Grace"), add(aggregate_id=contact_id), delete(contact_id), again]
    commands += [update(contact_id, "Barbara", expected_version=1), update("nobody")]
    apply(commands)
    assert kinds(commands) == [
        "0:ADDED",
        "1:UPDATED",
        "2:REJECTED",
        "3:DELETED",
        "4:ADDED",
        "5:UPDATED",
        "6:REJECTED",
    ]
    contact = Contact.objects.get()
    assert (contact.name, contact.version, contact.added_by) == ("Barbara", 2, 5)


def test_a_contact_that_is_added_and_deleted_in_one_batch_leaves_nothing_but_its_notices():
    first = add()
    apply([first, delete(contact_of(first))])
    assert not Contact.objects.exists()
    assert Notice.objects.count() == 2


def test_a_stored_contact_that_is_deleted_and_added_again_in_one_batch_goes_to_the_end_of_the_list():
    first, second = add("Ada"), add("Grace")
    apply([first, second])
    apply([delete(contact_of(first)), add("Ada again", aggregate_id=contact_of(first))])
    assert list(Contact.objects.order_by("added_by").values_list("name", flat=True)) == ["Grace", "Ada again"]


def test_notices_are_numbered_without_gaps_over_batches():
    for size in (3, 1, 250, 2):
        apply([add() for _ in range(size)])
    assert list(Notice.objects.order_by("number").values_list("number", flat=True)) == list(range(1, 257))


def test_a_foreign_command_gets_the_ids_it_lacks():
    (notice,) = apply([Command(kind="contact.add", body=ContactState(name="Ada").SerializeToString())]).notices
    contact = Contact.objects.get()
    assert notice.aggregate_id == contact.pk
    assert notice.command_id


def test_a_rejection_is_recorded_with_its_reason_and_the_contact_as_it_is():
    first = add("Ada")
    apply([first])
    stale = update(contact_of(first), expected_version=9)
    (notice,) = apply([stale]).notices
    row = Notice.objects.get(command_id=id_of(stale))
    assert row.reason == Reason.CONFLICT
    assert row.message == "the contact is at version 1, not 9"
    assert (name_of(notice.state), notice.version) == ("Ada", 1)


@pytest.mark.parametrize("bad", ["not an id", "x" * 5000, "\x00"])
def test_ids_that_are_none_are_rejected_under_one_that_is_and_known_when_sent_again(bad: str):
    for _ in range(2):
        apply([update(bad, command_id=bad, depends_on=bad)])
    row = Notice.objects.get()
    assert (row.kind, row.reason, row.aggregate_id, row.depends_on) == (Kind.REJECTED, Reason.INVALID, "", "")
    assert len(row.command_id) == 36


# Exactly once


def test_a_known_command_id_changes_nothing():
    first = add("Ada")
    apply([first])
    change = update(contact_of(first), "Grace")
    apply([change, change])
    assert apply([change, first]) == ([], [])
    assert Contact.objects.get().version == 2
    assert Notice.objects.count() == 2


def test_the_same_command_id_with_other_content_changes_nothing():
    apply([add("Ada", command_id="one")])
    apply([add("Grace", command_id="one"), delete(contact_of(add(command_id="one")), command_id="one")])
    assert Contact.objects.get().name == "Ada"


def test_a_cancel_that_comes_first_wins():
    command = add()
    apply([cancelled(command)])
    apply([command])
    assert kinds([command]) == ["0:CANCELLED"]
    assert not Contact.objects.exists()


def test_a_cancel_that_comes_late_changes_nothing():
    command = add()
    apply([command, cancelled(command)])
    assert kinds([command]) == ["0:ADDED"]


# In order


def test_what_depends_on_an_unknown_command_is_deferred():
    applied = apply([update("ada", command_id="second", depends_on="first")])
    assert applied == ([], ["second"])
    assert not Notice.objects.exists()


def test_a_chain_in_any_order_within_a_batch_is_applied_in_its_order():
    first = add("0")
    chain = [first]
    for place in range(1, 40):
        chain.append(update(contact_of(first), str(place), depends_on=id_of(chain[-1]), expected_version=place))
    shuffled = random.Random(7).sample(chain, len(chain))
    applied = apply(shuffled)
    assert applied.deferred == []
    assert kinds(chain) == ["0:ADDED", *(f"{place}:UPDATED" for place in range(1, 40))]


def test_a_chain_that_comes_one_by_one_in_any_order_is_applied_in_its_order():
    first = add("0")
    chain = [first]
    for place in range(1, 12):
        chain.append(update(contact_of(first), str(place), depends_on=id_of(chain[-1]), expected_version=place))
    waiting = random.Random(3).sample(chain, len(chain))
    while waiting:
        waiting = [command for command in waiting if apply([command]).deferred]
    assert kinds(chain) == ["0:ADDED", *(f"{place}:UPDATED" for place in range(1, 12))]


def test_only_the_chain_that_lacks_a_link_is_deferred():
    first = add("Ada")
    cid = contact_of(first)
    lost = update(cid, "lost", depends_on=id_of(first))
    third = update(cid, "third", depends_on=id_of(lost))
    fourth = update(cid, "fourth", depends_on=id_of(third))
    other = add("Bob")
    applied = apply([fourth, third, other, first])
    assert sorted(applied.deferred) == sorted([id_of(third), id_of(fourth)])
    assert kinds([first, other]) == ["1:ADDED", "0:ADDED"]
    assert apply([third, fourth, lost]).deferred == []
    assert Contact.objects.get(pk=cid).name == "fourth"


def test_the_same_waiting_command_twice_is_deferred_once():
    command = update("ada", depends_on="unknown")
    assert apply([command, command]).deferred == [id_of(command)]


def test_what_depends_on_a_rejected_command_goes_on():
    first = add("")
    second = update(contact_of(first), depends_on=id_of(first))
    apply([first, second])
    assert kinds([first, second]) == ["0:REJECTED", "1:REJECTED"]


def test_a_cancelled_command_counts_as_settled_only_when_what_it_depended_on_is():
    first = add("Ada")
    cid = contact_of(first)
    second = update(cid, "second", depends_on=id_of(first))
    third = update(cid, "third", depends_on=id_of(second))
    apply([cancelled(second)])
    assert apply([third]).deferred == [id_of(third)]
    apply([first])
    assert apply([third]).deferred == []
    assert kinds([first, second, third]) == ["1:CANCELLED", "0:ADDED", "2:UPDATED"]


def test_a_chain_of_cancelled_commands_is_followed_to_its_end_whatever_order_they_came_in():
    first = add("Ada")
    cid = contact_of(first)
    chain = [first]
    for _ in range(5):
        chain.append(update(cid, depends_on=id_of(chain[-1])))
    last = update(cid, "last", depends_on=id_of(chain[-1]))
    for command in random.Random(5).sample(chain[1:], 5):
        apply([cancelled(command)])
    assert apply([last]).deferred == [id_of(last)]
    assert apply([last, first]).deferred == []
    assert Contact.objects.get().name == "last"


def test_a_cancelled_command_of_the_same_batch_lets_through_only_what_may_go():
    first = add("Ada")
    second = update(contact_of(first), "second", depends_on=id_of(first))
    third = update(contact_of(first), "third", depends_on=id_of(second), expected_version=1)
    assert apply([third, cancelled(second)]).deferred == [id_of(third)]
    assert apply([third, first]).deferred == []
    assert Contact.objects.get().name == "third"


@pytest.mark.timeout(10)
def test_cancelled_commands_that_depend_on_each_other_end():
    one, two = update("a", command_id="one", depends_on="two"), update("a", command_id="two", depends_on="one")
    apply([cancelled(one)])
    apply([cancelled(two)])
    assert apply([add(depends_on="one")]).deferred == []


# Parked


def test_a_defective_command_is_parked_and_the_others_are_applied(defects: set[str]):
    good, bad, better = add("Ada"), add("Bob"), add("Grace")
    defects.add(id_of(bad))
    applied = apply([good, bad, better])
    assert kinds([good, bad, better]) == ["0:ADDED", "1:PARKED", "2:ADDED"]
    assert applied.deferred == []
    row = ParkedCommand.objects.get()
    assert row.cause == "ZeroDivisionError: a planted defect"
    assert "in decide" in row.error, "it says where"
    assert Command.FromString(bytes(row.payload)) == bad
    assert row.notice == 2


def test_a_command_whose_row_the_database_refuses_is_parked_and_the_others_are_applied(refused_name: str):
    good, bad = add("Ada"), add(refused_name)
    behind = update(contact_of(bad), depends_on=id_of(bad))
    later = update(contact_of(good), "Grace", depends_on=id_of(good))
    apply([good, bad, behind, later])
    assert kinds([good, bad, behind, later]) == ["0:ADDED", "1:PARKED", "2:PARKED", "3:UPDATED"]
    row = ParkedCommand.objects.get(pk=id_of(bad))
    assert row.cause == "IntegrityError: refused"
    assert ParkedCommand.objects.get(pk=id_of(behind)).behind == id_of(bad)


def test_a_parked_command_that_is_sent_again_stays_parked(defects: set[str]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    defects.clear()
    assert apply([bad, bad]) == ([], [])
    assert kinds([bad]) == ["0:PARKED"]


def test_the_parked_are_retried_and_those_behind_follow_in_order(defects: set[str], clock: list[int]):
    first = add("0")
    cid = contact_of(first)
    chain = [first]
    for place in range(1, 5):
        chain.append(update(cid, str(place), depends_on=id_of(chain[-1]), expected_version=place))
    defects.add(id_of(first))
    apply(chain[:3])
    apply(chain[3:])
    assert kinds(chain) == [f"{place}:PARKED" for place in range(5)]
    defects.clear()
    clock[0] += 999
    assert retry_parked() == ([], []), "not due yet"
    clock[0] += 1
    while retry_parked().notices:
        pass
    assert kinds(chain)[5:] == ["0:ADDED", "1:UPDATED", "2:UPDATED", "3:UPDATED", "4:UPDATED"]
    assert not ParkedCommand.objects.exists()


def test_a_parked_command_is_tried_five_times_with_backoff_and_then_left(defects: set[str], clock: list[int]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    pauses = []
    for attempt in range(RETRIES):
        row = ParkedCommand.objects.get()
        assert row.attempts == attempt
        due = round(row.next_attempt_at.timestamp() * 1000)
        pauses.append(due - clock[0])
        clock[0] = due
        retry_parked()
    row = ParkedCommand.objects.get()
    assert pauses == [1000, 2000, 4000, 8000, 16000]
    assert (row.attempts, row.next_attempt_at) == (5, None)
    assert kinds([bad]) == ["0:PARKED"], "trying again is no news"


def test_one_behind_that_fails_itself_is_parked_for_its_own_defect(defects: set[str], clock: list[int]):
    first = add()
    second = update(contact_of(first), depends_on=id_of(first))
    third = update(contact_of(first), depends_on=id_of(second))
    defects |= {id_of(first), id_of(second)}
    apply([first, second, third])
    defects.remove(id_of(first))
    clock[0] += 1000
    while retry_parked().notices:
        pass
    row = ParkedCommand.objects.get(pk=id_of(second))
    assert (row.behind, row.cause, row.attempts) == ("", "ZeroDivisionError: a planted defect", 1)
    assert ParkedCommand.objects.get(pk=id_of(third)).behind == id_of(second)


def test_a_parked_command_can_be_cancelled_and_those_behind_follow(defects: set[str], clock: list[int]):
    first = add("Ada")
    second = update(contact_of(first), "second", depends_on=id_of(first))
    third = update(contact_of(first), "third", depends_on=id_of(second))
    defects.add(id_of(second))
    apply([first, second, third])
    defects.clear()
    apply([cancelled(second)])
    retry_parked()
    assert kinds([first, second, third])[3:] == ["1:CANCELLED", "2:UPDATED"]
    assert not ParkedCommand.objects.exists()


def test_what_was_behind_a_cancelled_one_waits_for_what_that_was_behind(defects: set[str], clock: list[int]):
    first = add("Ada")
    second = update(contact_of(first), "second", depends_on=id_of(first))
    third = update(contact_of(first), "third", depends_on=id_of(second))
    defects.add(id_of(first))
    apply([first, second, third])
    apply([cancelled(second)])
    retry_parked()
    row = ParkedCommand.objects.get(pk=id_of(third))
    assert (row.behind, row.next_attempt_at, row.attempts) == (id_of(first), None, 0)
    defects.clear()
    clock[0] += 1000
    while retry_parked().notices:
        pass
    assert Contact.objects.get().name == "third"


def test_a_number_too_large_for_the_database_is_a_defect_of_its_command():
    first = add("Ada")
    apply([first])
    Contact.objects.update(version=OUT_OF_INT64 - 1)
    overflow, other = update(contact_of(first)), add("Bob")
    apply([overflow, other])
    assert kinds([first, overflow, other]) == ["0:ADDED", "1:PARKED", "2:ADDED"]


@pytest.mark.parametrize("statement", ["INSERT INTO notice", "LOCK", "COMMIT"])
def test_when_nothing_can_be_committed_nothing_is_parked(statement: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object) -> None:
        raise OperationalError("database or disk is full")

    target = {
        "INSERT INTO notice": (unit_of_work.rows, "insert_notices"),
        "LOCK": (type(engine_of(ALIAS)), "lock"),
        "COMMIT": (connections[ALIAS], "_commit"),
    }[statement]
    command = add()
    with monkeypatch.context() as full:
        full.setattr(*target, refuse)
        with pytest.raises(OperationalError, match="disk is full"):
            apply([command])
    assert not Notice.objects.exists()
    assert not ParkedCommand.objects.exists()
    apply([command])
    assert kinds([command]) == ["0:ADDED"]


def test_what_is_due_but_unsettled_waits_a_second(clock: list[int]):
    command = update("ada", depends_on="unknown")
    dead_letters.write(
        [
            dead_letters.Parking(
                id_of(command), "contact", "ada", command.SerializeToString(), "cause", None, "", 1, first=True
            )
        ],
        clock[0],
    )
    clock[0] += 1000
    assert retry_parked() == ([], [id_of(command)])
    row = ParkedCommand.objects.get()
    assert round(row.next_attempt_at.timestamp() * 1000) == clock[0] + 1000
    assert row.attempts == 0


# Histories


def test_a_command_whose_sender_has_seen_more_than_this_database_has_is_deferred():
    last = apply([add("Ada"), add("Grace")]).notices[-1]
    contact_id = last.aggregate_id
    known = update(contact_id, "Grace H", seen=last.position)
    assert apply([known]).deferred == []

    number, _, check = last.position.partition(".")
    for elsewhere in (f"{int(number) + 2}.{check}", f"{number}.{'0' * 12}", "no position"):
        stranger = update(contact_id, "too early", seen=elsewhere)
        follower = update(contact_id, "behind it", depends_on=id_of(stranger), seen=last.position)
        applied = apply([stranger, follower])
        assert (applied.notices, applied.deferred) == ([], [id_of(stranger), id_of(follower)])
    assert Contact.objects.get(pk=contact_id).name == "Grace H"


def test_what_the_history_has_is_known_whatever_its_sender_has_seen():
    command = add("Ada")
    apply([command])
    command.meta.seen = f"999.{'0' * 12}"
    assert apply([command]) == ([], [])


def test_where_the_notice_is_not_kept_any_more_its_position_counts_as_known():
    first, second = apply([add("Ada"), add("Grace")]).notices
    Notice.objects.filter(number=first.number).delete()
    assert apply([update(second.aggregate_id, "Grace H", seen=first.position)]).deferred == []


def test_what_is_parked_is_of_this_history_whatever_its_sender_has_seen(defects: set[str], clock: list[int]):
    seen = apply([add("Ada")]).notices[0]
    command = update(seen.aggregate_id, "Grace", seen=seen.position)
    defects.add(id_of(command))
    apply([command])
    Notice.objects.filter(number=seen.number).update(committed_at=1)
    defects.clear()
    ParkedCommand.objects.update(next_attempt_at=clock[0])
    assert [notice.kind for notice in retry_parked().notices] == [Kind.UPDATED]
