"""What became of commands, read by command or by position."""

import pytest

from database_service import notices
from database_service.apply import apply
from database_service.errors import PositionInvalid, PositionTooOld, PositionUnknown
from database_service.models import DatabaseIdentity, Notice, ParkedCommand
from protocol import notice_pb2
from protocol.lifecycle import MAX_MESSAGE
from tests.factories import add, cancelled, contact_of, id_of, update

pytestmark = pytest.mark.django_db(transaction=True, databases=["contacts"])


def test_an_empty_history_has_a_head_and_an_identity_that_stays():
    batch = notices.after("0", 10)
    assert (list(batch.notice), batch.head) == ([], "0")
    assert batch.database == DatabaseIdentity.objects.get().uuid == notices.head().database


def test_who_asks_from_the_last_position_seen_misses_none_and_gets_none_twice():
    apply([add() for _ in range(25)])
    position, seen = "0", []
    while (batch := notices.after(position, 10)).notice:
        seen += [notice.number for notice in batch.notice]
        position = batch.notice[-1].position
    assert seen == list(range(1, 26))
    assert position == batch.head == notices.head().position


def test_no_position_is_the_end_of_the_history():
    apply([add()])
    batch = notices.after("", 10)
    assert (list(batch.notice), batch.head) == ([], notices.head().position)


def test_a_notice_reads_as_it_was_returned_when_it_was_applied():
    first = add("Ada", actor="root")
    applied = apply([first, update(contact_of(first), "", depends_on=id_of(first))]).notices
    assert list(notices.after("0", 10).notice) == applied
    assert list(notices.since(0, 10).notice) == applied


def test_what_is_no_position_is_refused():
    with pytest.raises(PositionInvalid):
        notices.after("7", 10)


def test_a_position_beyond_the_head_is_of_another_history():
    position = apply([add(), add()]).notices[-1].position
    Notice.objects.filter(number=2).delete()
    with pytest.raises(PositionUnknown):
        notices.after(position, 10)


def test_a_position_of_before_a_backup_was_restored_is_of_another_history():
    position = apply([add()]).notices[-1].position
    Notice.objects.all().delete()
    apply([add(), add()])
    with pytest.raises(PositionUnknown):
        notices.after(position, 10)


def test_a_position_of_another_database_is_of_another_history():
    position = apply([add()]).notices[-1].position
    DatabaseIdentity.objects.update(uuid="another")
    with pytest.raises(PositionUnknown):
        notices.after(position, 10)


def test_a_position_older_than_what_is_kept_is_told_from_one_of_another_history():
    applied = apply([add() for _ in range(5)]).notices
    Notice.objects.filter(number__lte=2).delete()
    for position in ("0", applied[0].position, applied[1].position):
        with pytest.raises(PositionTooOld):
            notices.after(position, 10)
    assert [notice.number for notice in notices.after(applied[2].position, 10).notice] == [4, 5]
    with pytest.raises(PositionTooOld):
        notices.since(1, 10)


def test_outcomes_are_the_newest_notices_of_the_commands_known():
    first, second, third = add(), add(), add()
    apply([first, cancelled(second)])
    found = {
        notice.command_id: notice.kind for notice in notices.outcomes([id_of(c) for c in (first, second, third)]).notice
    }
    assert found == {id_of(first): notice_pb2.Notice.ADDED, id_of(second): notice_pb2.Notice.CANCELLED}


def test_the_outcome_of_a_parked_command_is_its_parking_until_it_is_settled():
    command = add(command_id="parked")
    (applied,) = apply([add()]).notices
    Notice.objects.filter(number=applied.number).update(kind=notice_pb2.Notice.PARKED, command_id="parked")
    ParkedCommand.objects.create(
        command_id="parked", payload=command.SerializeToString(), parked_at=1, notice=applied.number
    )
    assert [notice.kind for notice in notices.outcomes(["parked"]).notice] == [notice_pb2.Notice.PARKED]
    apply([cancelled(command)])
    assert [notice.kind for notice in notices.outcomes(["parked"]).notice] == [notice_pb2.Notice.CANCELLED]


def test_outcomes_of_more_commands_than_a_statement_can_ask_for():
    commands = [add() for _ in range(1000)]
    apply(commands)
    assert len(notices.outcomes([id_of(command) for command in commands]).notice) == 1000


def test_a_batch_of_the_longest_notices_fits_in_a_message():
    apply([add("\U0001f600" * 200, contact_id="c" * 100, command_id="d" * 100, actor="\U0001f600" * 150)])
    Notice.objects.update(message="\U0001f600" * 500)
    batch = notices.after("0", 10)
    batch.notice.extend([batch.notice[0]] * (notices.MAX_BATCH - 1))
    assert 3_500_000 < batch.ByteSize() < MAX_MESSAGE
