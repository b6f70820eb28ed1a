"""What an operator does about a parked command, as it reaches the database."""

import pytest

from cqrs.store.apply import apply, retry_parked
from cqrs.store.models import Kind, Notice, ParkedCommand
from database_service.models import Contact
from protocol.contact_pb2 import Contact as ContactMessage
from protocol.cqrs_command_pb2 import Command, Operation
from protocol.cqrs_notice_pb2 import Notice as Message
from tests.support.envelopes import add, cancelled, contact_of, delete, id_of, operated, update
from tests.support.recorded import kinds

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])

RETRY, AMEND, DISCARD = Operation.RETRY, Operation.AMEND, Operation.DISCARD


def parked_row(command: Command) -> ParkedCommand:
    return ParkedCommand.objects.get(pk=id_of(command))


def name_in(notice: Message) -> str:
    return ContactMessage.FromString(notice.state).name


def retry_all() -> None:
    while retry_parked().notices:
        pass


def a_parked_chain(defects: set[str]) -> list[Command]:
    """An add that fails and is parked, and two updates behind it."""
    first = add("0")
    second = update(contact_of(first), "1", depends_on=id_of(first), expected_version=1)
    third = update(contact_of(first), "2", depends_on=id_of(second), expected_version=2)
    defects.add(id_of(first))
    apply([first, second, third])
    return [first, second, third]


def test_a_retried_command_is_tried_at_once_and_those_behind_follow_in_order(defects: set[str], clock: list[int]):
    chain = a_parked_chain(defects)
    defects.clear()
    (notice,) = apply([operated(chain[0], RETRY, 1, actor="grace")]).notices
    assert notice.message == "Contact added (retried by grace)"
    retry_all()
    assert kinds(chain)[3:] == ["0:ADDED", "1:UPDATED", "2:UPDATED"]
    assert not ParkedCommand.objects.exists()


def test_what_follows_in_the_same_batch_is_applied_with_it(defects: set[str]):
    chain = a_parked_chain(defects)
    defects.clear()
    apply([operated(command, RETRY, number) for number, command in enumerate(chain, 1)])
    assert kinds(chain)[3:] == ["0:ADDED", "1:UPDATED", "2:UPDATED"]


def test_a_retry_that_fails_again_is_news_and_starts_the_attempts_anew(defects: set[str], clock: list[int]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    for _ in range(5):
        clock[0] += 60_000
        retry_parked()
    assert parked_row(bad).next_attempt_at is None
    clock[0] += 60_000
    (notice,) = apply([operated(bad, RETRY, 1)]).notices
    row = parked_row(bad)
    assert notice.message == "Parked again: ZeroDivisionError: a planted defect (retried by op)"
    assert (row.attempts, row.notice) == (0, notice.number)
    assert [round(time.timestamp() * 1000) - clock[0] for time in (row.tried_at, row.next_attempt_at)] == [0, 1000]


@pytest.mark.parametrize("kind", [RETRY, AMEND])
def test_an_operation_that_comes_twice_is_done_once(kind: Operation.Kind, defects: set[str]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    again = operated(bad, kind, 1)
    apply([again, again])
    apply([again])
    assert kinds([bad]) == ["0:PARKED", "0:PARKED"]
    defects.clear()
    assert apply([again]) == ([], []), "even when it would succeed now"
    apply([operated(bad, kind, 2)])
    assert apply([again, operated(bad, DISCARD, 2)]) == ([], [])
    assert kinds([bad])[2:] == ["0:ADDED"]


def test_of_two_operators_who_saw_the_same_the_first_decides(defects: set[str]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    apply([operated(bad, RETRY, 1)])
    apply([operated(bad, DISCARD, 1)])
    assert kinds([bad]) == ["0:PARKED", "0:PARKED"]


def test_a_retry_takes_the_command_as_it_is_parked(defects: set[str]):
    bad = add("Ada")
    defects.add(id_of(bad))
    apply([bad])
    apply([operated(bad, AMEND, 1, name="Grace")])
    defects.clear()
    apply([operated(bad, RETRY, 2)])
    assert Contact.objects.get().name == "Grace", "as it was amended"


def test_an_amended_command_takes_effect_as_amended(defects: set[str]):
    first = add("Ada")
    bad = update(contact_of(first), "bad", expected_version=7, depends_on=id_of(first))
    defects.add(id_of(bad))
    apply([first, bad])
    defects.clear()
    amended = operated(update(contact_of(first), "good", command_id=id_of(bad)), AMEND, 2, actor="grace")
    (notice,) = apply([amended]).notices
    assert (name_in(notice), notice.message) == ("good", "Contact updated (amended by grace)")


def test_an_amendment_changes_neither_kind_nor_contact(defects: set[str]):
    first, other = add("Ada"), add("Bob")
    bad = update(contact_of(first), "renamed")
    defects.add(id_of(bad))
    apply([first, other, bad])
    defects.clear()
    apply([operated(update(contact_of(other), command_id=id_of(bad)), AMEND, 3)])
    apply([operated(delete(contact_of(first), command_id=id_of(bad)), AMEND, 3)])
    assert kinds([first, other, bad]) == ["0:ADDED", "1:ADDED", "2:PARKED"]
    apply([operated(bad, RETRY, 3)])
    assert Contact.objects.get(pk=contact_of(first)).name == "renamed"


def test_a_discarded_command_ends_without_effect_and_those_behind_follow(defects: set[str], clock: list[int]):
    chain = a_parked_chain(defects)
    (notice,) = apply([operated(chain[0], DISCARD, 1, actor="grace")]).notices
    assert (notice.kind, notice.message) == (Kind.DISCARDED, "Discarded by grace")
    retry_all()
    assert kinds(chain)[3:] == ["0:DISCARDED", "1:REJECTED", "2:REJECTED"]
    assert apply([chain[0]]) == ([], []), "it is known for good"


def test_what_was_behind_a_discarded_one_waits_for_what_that_was_behind(defects: set[str], clock: list[int]):
    first, second, third = a_parked_chain(defects)
    apply([operated(second, DISCARD, 2)])
    retry_parked()
    assert parked_row(third).behind == id_of(first)
    late = update(contact_of(first), "late", depends_on=id_of(second))
    apply([late])
    assert parked_row(late).behind == id_of(first)
    defects.clear()
    apply([operated(first, RETRY, 1)])
    retry_all()
    assert kinds([first, second, third, late])[5:] == ["0:ADDED", "2:REJECTED", "3:UPDATED"]


def test_one_behind_another_is_not_tried_out_of_its_turn_but_stays_as_amended(defects: set[str], clock: list[int]):
    first, second, third = a_parked_chain(defects)
    (notice,) = apply([operated(second, AMEND, 2, name="amended")]).notices
    assert notice.message == "Parked again: waits behind a parked command (amended by op)"
    defects.clear()
    clock[0] += 1000
    retry_all()
    assert kinds([first, second, third])[4:] == ["0:ADDED", "1:UPDATED", "2:UPDATED"]
    assert ContactMessage.FromString(bytes(Notice.objects.get(number=6).state)).name == "amended"


def test_a_command_that_is_discarded_before_the_database_ever_saw_it_has_no_effect():
    """After a backup was restored, when the journals send again what was decided since."""
    command = add()
    apply([operated(command, DISCARD, 7)])
    apply([command])
    assert kinds([command]) == ["0:DISCARDED"]


def test_a_retry_of_what_is_not_parked_is_the_command_itself():
    command = add()
    again = operated(command, RETRY, 7)
    apply([again, again, command])
    assert kinds([command]) == ["0:ADDED"]


def test_a_cancel_goes_before_an_operation(defects: set[str]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    apply([cancelled(operated(bad, RETRY, 1))])
    assert kinds([bad]) == ["0:PARKED", "0:CANCELLED"]


def test_parked_and_withdrawn_in_one_batch_leaves_nothing_parked_and_releases_those_behind(
    defects: set[str], clock: list[int]
):
    first = add()
    behind = update(contact_of(first), depends_on=id_of(first))
    defects.add(id_of(first))
    apply([first, behind, cancelled(first)])
    retry_all()
    assert kinds([first, behind]) == ["0:PARKED", "1:PARKED", "0:CANCELLED", "1:REJECTED"]
    assert not ParkedCommand.objects.exists()


def test_what_is_parked_needs_no_notice_of_what_it_followed(defects: set[str], clock: list[int]):
    """Notices are pruned by age; an operator may come later."""
    first = add("Ada")
    cid = contact_of(first)
    withdrawn = update(cid, "withdrawn", depends_on=id_of(first))
    bad = update(cid, "bad", depends_on=id_of(withdrawn))
    behind = update(cid, "behind", depends_on=id_of(bad))
    defects.add(id_of(bad))
    apply([first, cancelled(withdrawn), bad, behind])
    Notice.objects.filter(number__lt=5).delete()
    apply([add("the newest")])
    defects.clear()
    (notice,) = apply([operated(bad, RETRY, parked_row(bad).notice)]).notices
    assert name_in(notice) == "bad"
    retry_all()
    assert Contact.objects.get(pk=cid).name == "behind"
