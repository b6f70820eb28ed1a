"""What became of commands, read by command or by position."""

import asyncio
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from cqrs.store import notices, retention
from cqrs.store.apply import apply
from cqrs.store.errors import PositionInvalid, PositionTooOld, PositionUnknown
from cqrs.store.models import DatabaseIdentity, Notice, ParkedCommand
from cqrs.store.threads import DatabaseThreads
from cqrs.transport.grpc_channel import MAX_MESSAGE
from protocol import cqrs_notice_pb2
from tests.support.envelopes import add, cancelled, contact_of, id_of, update

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
    assert found == {id_of(first): cqrs_notice_pb2.Notice.ADDED, id_of(second): cqrs_notice_pb2.Notice.CANCELLED}


def test_the_outcome_of_a_parked_command_is_its_parking_until_it_is_settled():
    command = add(command_id="parked")
    (applied,) = apply([add()]).notices
    Notice.objects.filter(number=applied.number).update(kind=cqrs_notice_pb2.Notice.PARKED, command_id="parked")
    ParkedCommand.objects.create(
        command_id="parked",
        aggregate="contact",
        payload=command.SerializeToString(),
        parked_at=1,
        notice=applied.number,
    )
    assert [notice.kind for notice in notices.outcomes(["parked"]).notice] == [cqrs_notice_pb2.Notice.PARKED]
    apply([cancelled(command)])
    assert [notice.kind for notice in notices.outcomes(["parked"]).notice] == [cqrs_notice_pb2.Notice.CANCELLED]


def test_outcomes_of_more_commands_than_a_statement_can_ask_for():
    commands = [add() for _ in range(1000)]
    apply(commands)
    assert len(notices.outcomes([id_of(command) for command in commands]).notice) == 1000


def test_a_batch_of_the_longest_notices_fits_in_a_message():
    apply([add("\U0001f600" * 200, aggregate_id="c" * 100, command_id="d" * 100, actor="\U0001f600" * 150)])
    Notice.objects.update(message="\U0001f600" * 500)
    batch = notices.after("0", 10)
    batch.notice.extend([batch.notice[0]] * (notices.MAX_BATCH - 1))
    assert 3_500_000 < batch.ByteSize() < MAX_MESSAGE


DAY = 24 * 3600 * 1000


def numbers() -> list[int]:
    return list(Notice.objects.order_by("number").values_list("number", flat=True))


def test_notices_are_pruned_by_age_from_the_beginning_on_and_never_the_newest(clock: list[int]):
    for _ in range(4):
        apply([add(), add()])
        clock[0] += DAY
    assert notices.prune(clock[0] - 2 * DAY) == 4
    assert numbers() == [5, 6, 7, 8]
    assert notices.prune(clock[0]) == 3
    assert notices.prune(clock[0]) == 0
    apply([add()])
    assert numbers() == [8, 9], "and the next is numbered after it"


def test_a_notice_behind_a_younger_one_is_kept_so_that_there_is_no_gap(clock: list[int]):
    apply([add()])
    clock[0] -= 10 * DAY
    apply([add(), add()])
    assert notices.prune(clock[0] + DAY) == 0
    assert numbers() == [1, 2, 3]


def test_one_pruning_is_bounded(clock: list[int]):
    apply([add() for _ in range(25)])
    assert [notices.prune(clock[0] + 1, limit=10) for _ in range(4)] == [10, 10, 4, 0]


def test_positions_of_what_was_pruned_are_too_old_and_of_what_is_kept_go_on(clock: list[int]):
    made = apply([add() for _ in range(5)]).notices
    clock[0] += DAY
    apply([add()])
    notices.prune(clock[0])
    for position in ("0", made[3].position):
        with pytest.raises(PositionTooOld):
            notices.after(position, 10)
    assert numbers() == [6]
    assert not notices.after(notices.head().position, 10).notice


def test_a_parked_command_is_known_to_be_parked_when_its_notice_is_pruned(defects: set[str], clock: list[int]):
    bad = add()
    defects.add(id_of(bad))
    apply([bad])
    before = notices.outcomes([id_of(bad)]).notice
    apply([add()])
    notices.prune(clock[0] + 1)
    assert numbers() == [2]
    assert notices.outcomes([id_of(bad)]).notice == before
    assert apply([bad]) == ([], [])


async def test_the_database_service_prunes_by_itself(clock: list[int]):
    threads = DatabaseThreads(memory=False)
    await threads.write(apply, [add() for _ in range(1500)])
    task = asyncio.create_task(retention.prune_notices(threads, timedelta(days=1), every=0.01))
    left: list[int] = []

    async def count() -> None:
        while left != [1500]:
            left[:] = await threads.read(numbers)

    async with asyncio.timeout(10):
        await count()
    task.cancel()
    await asyncio.to_thread(threads.close)


def test_the_command_prunes_and_keeps_what_the_journals_may_need(clock: list[int]):
    apply([add() for _ in range(3)])
    out = StringIO()
    call_command("prunenotices", stdout=out)
    assert out.getvalue() == "pruned 2 notices\n"
    with pytest.raises(CommandError, match="--days must be more than commands are kept, which is 30, not 30"):
        call_command("prunenotices", days=30)


def large(count: int, size: int) -> list[Notice]:
    """Notices whose states have so many bytes."""
    apply([add() for _ in range(count)])
    Notice.objects.update(state=b"s" * size)
    return list(Notice.objects.order_by("number"))


def test_a_batch_of_large_states_ends_where_a_message_would_be_too_large():
    large(5, 400_000)
    position, sizes = "0", []
    while (batch := notices.after(position, 10)).notice:
        sizes.append(len(batch.notice))
        position = batch.notice[-1].position
    assert sizes == [2, 2, 1]
    Notice.objects.update(state=b"s" * 2_000_000)
    assert len(notices.since(0, 10).notice) == 1, "one that is larger still comes alone"


def test_outcomes_leave_out_states_that_no_message_holds_and_no_outcome():
    rows = large(5, 400_000)
    found = notices.outcomes([row.command_id for row in rows]).notice
    assert sorted(notice.number for notice in found) == [1, 2, 3, 4, 5]
    assert sorted(len(notice.state) for notice in found) == [0, 0, 0, 400_000, 400_000]


def test_a_text_that_is_no_id_has_no_outcome():
    assert not notices.outcomes(["a\0b", "", "?" * 1000]).notice
