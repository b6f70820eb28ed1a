"""Redriving what a database has lost into what is in its place; that is the real one, without its service."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async

from cqrs.journal import rows, tracked_history
from cqrs.journal.clock import now
from cqrs.journal.errors import BrokerAway
from cqrs.journal.models import Command as Row
from cqrs.journal.models import TrackedHistory
from cqrs.journal.settlement import settlement_of
from cqrs.recovery import redrive
from cqrs.recovery.history_guard import Refusals
from cqrs.recovery.redrive import Redrive, RedriveError, Redriven
from cqrs.recovery.redrive_rows import Plan
from cqrs.store import models, notices, unit_of_work
from cqrs.store.apply import apply, retry_parked
from cqrs.store.decide import decide
from cqrs.store.errors import PositionTooOld, PositionUnknown
from database_service.models import Contact as ContactRow
from protocol.cqrs_command_pb2 import Command, Operation
from protocol.cqrs_notice_pb2 import Notice, NoticeBatch
from tests.support.envelopes import add, cancelled, contact_of, delete, id_of, name_of, operated, update
from tests.support.fakes import commands_in

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "contacts"])

STORED = (ContactRow, models.Notice, models.ParkedCommand, models.DatabaseIdentity)


def journaled(command: Command) -> Command:
    """The command as a row that has been due for long."""
    meta = command.meta
    Row.objects.create(
        command_id=meta.command_id,
        aggregate="contact",
        verb=command.kind.removeprefix("contact."),
        aggregate_id=command.aggregate_id,
        body=command.body,
        depends_on=meta.depends_on,
        expected_version=meta.expected_version if meta.HasField("expected_version") else None,
        accepted_at=now() - timedelta(seconds=3),
        takes_effect_at=now(),
    )
    return command


def settle(committed: Sequence[Notice]) -> None:
    """Records what the database says became of commands, and that it was seen."""
    with rows.writing() as cursor:
        rows.settle(cursor, {each.command_id: end for each in committed if (end := settlement_of(each))})
    row = tracked_history.read()
    if row is None:
        tracked_history.begin(notices.head().database, "0", memory=False, instead_of=None)
        row = tracked_history.read()
    assert row is not None
    tracked_history.see(tracked_history.Seen(row.generation, committed[-1].number, committed[-1].position))


def done(*commands: Command) -> None:
    """Journals, applies and settles commands, one after the other."""
    for command in commands:
        journaled(command)
        settle(apply([command]).notices)


def contacts() -> list[tuple[str, str, int]]:
    return list(ContactRow.objects.order_by("added_by").values_list("id", "name", "version"))


def history() -> list[tuple[str, str]]:
    """Of each notice: the command, and what became of it."""
    return [(each.command_id, each.get_kind_display()) for each in models.Notice.objects.order_by("number")]


def backup() -> Callable[[], None]:
    """A copy of the database as it is; called, it puts that back."""
    kept = [(model, list(model.objects.all())) for model in STORED]

    def restore() -> None:
        for model, found in kept:
            model.objects.all().delete()
            model.objects.bulk_create(found)

    return restore


def reset() -> None:
    for model in STORED:
        model.objects.all().delete()


class Ring:
    """What is between redrive and database: messages are applied at once, unless a test loses them."""

    def __init__(self) -> None:
        self.messages = 0
        # Of messages by number: these are lost; these meet a broker that is away.
        self.loses: Callable[[int], bool] = lambda _number: False
        self.away: Callable[[int], bool] = lambda _number: False
        self.progress: list[tuple[int, int]] = []

    async def publish(self, topic: str, payload: bytes) -> None:
        self.messages += 1
        if self.away(self.messages):
            raise BrokerAway("away")
        if not self.loses(self.messages):
            await sync_to_async(apply)(commands_in(topic, payload))

    async def get_outcomes(self, command_ids: Sequence[str]) -> Mapping[str, Notice]:
        assert len(command_ids) <= 1000
        batch = await sync_to_async(notices.outcomes)(command_ids)
        return {notice.command_id: notice for notice in batch.notice}

    async def read_notices(self, after: str, limit: int) -> NoticeBatch:
        return await sync_to_async(notices.after)(after, limit)

    async def redrive(self) -> Redrive:
        first = await sync_to_async(notices.after)("", 1)
        return Redrive(first, self.get_outcomes, self.read_notices, refusals=Refusals(PositionUnknown, PositionTooOld))

    async def run(self) -> tuple[Plan, Redriven]:
        one = await self.redrive()
        plan = await one.plan()
        assert plan is not None
        return plan, await one.run(self.publish, lambda *told: self.progress.append(told))


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    monkeypatch.setattr(redrive, "ASK_EVERY", 0.001)
    monkeypatch.setattr(redrive, "AGAIN", 0.01)
    return Ring()


def some_history() -> tuple[Callable[[], None], list[tuple[str, str, int]], list[tuple[str, str]]]:
    """A backup, then what it lacks; what there was then."""
    first, second = add("Ada"), add("Grace")
    done(first, second)
    restore = backup()
    third = add("Edsger")
    done(update(contact_of(first), "Ada L"), third)
    done(update(contact_of(third), "Edsger D", expected_version=1))
    done(update(contact_of(first), "Ada Lovelace"), delete(contact_of(second)), add("Barbara"))
    return restore, contacts(), history()


async def test_what_a_backup_lacks_is_replayed_in_order_and_once(ring: Ring) -> None:
    restore, there_was, told = await sync_to_async(some_history)()
    await sync_to_async(restore)()
    plan, replayed = await ring.run()
    assert (plan.common, plan.lost, plan.applied, plan.ended, plan.pruned) == (2, 6, 6, 0, 0)
    assert (replayed.sent, replayed.rejected, replayed.parked) == (6, [], [])
    assert await sync_to_async(contacts)() == there_was
    assert await sync_to_async(history)() == told
    assert ring.progress == [(0, 6), (6, 6)]
    row = await sync_to_async(tracked_history.read)()
    assert row is not None
    assert (row.lost_at, row.generation, row.number) == (None, 2, 8)
    assert await (await ring.redrive()).plan() is None, "begun again, there is nothing to do"


async def test_a_reset_database_gets_all(ring: Ring) -> None:
    _, there_was, told = await sync_to_async(some_history)()
    await sync_to_async(reset)()
    plan, _ = await ring.run()
    assert (plan.common, plan.lost, plan.applied) == (0, 8, 8)
    assert await sync_to_async(contacts)() == there_was
    assert await sync_to_async(history)() == told


async def test_messages_that_are_lost_or_meet_no_broker_are_sent_again(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive.topics, "BATCH_SIZE", 1)
    restore, there_was, told = await sync_to_async(some_history)()
    await sync_to_async(restore)()
    ring.loses = lambda number: number in (1, 4, 7)
    ring.away = lambda number: number == 9
    await ring.run()
    assert await sync_to_async(contacts)() == sorted_like(there_was, await sync_to_async(contacts)())
    assert sorted(await sync_to_async(history)()) == sorted(told)


def sorted_like(wanted: list[tuple[str, str, int]], found: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """What is lost comes after what depends on nothing of it: contacts may be listed in another order."""
    place = {contact_id: number for number, (contact_id, _, _) in enumerate(found)}
    return sorted(wanted, key=lambda contact: place[contact[0]])


async def test_interrupted_it_is_begun_again_and_nothing_takes_effect_twice(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "WINDOW", 2)
    restore, there_was, told = await sync_to_async(some_history)()
    await sync_to_async(restore)()
    monkeypatch.setattr(redrive, "PATIENCE", 0.1)
    ring.loses = lambda number: number > 1
    with pytest.raises(RedriveError, match="do broker and writer run"):
        await ring.run()
    row = await sync_to_async(tracked_history.read)()
    assert row is not None
    assert row.lost_at is not None
    assert (row.common_number, row.number) == (2, 8), "what is replayed does not blur what there was"

    ring.loses = lambda _number: False
    plan, replayed = await ring.run()
    assert plan.common == 2
    assert replayed.sent == 4
    assert await sync_to_async(contacts)() == there_was
    assert await sync_to_async(history)() == told


async def test_what_had_no_effect_is_made_known_and_has_none(ring: Ring) -> None:
    def happens() -> tuple[Callable[[], None], str, str]:
        first = add("Ada")
        done(first)
        restore = backup()
        # Rejected then; in another state than then it might be applied.
        stale = update(contact_of(first), "too late", expected_version=9)
        withdrawn = update(contact_of(first), "withdrawn")
        done(stale)
        journaled(withdrawn)
        settle(apply([cancelled(withdrawn)]).notices)
        return restore, id_of(stale), id_of(withdrawn)

    restore, stale, withdrawn = await sync_to_async(happens)()
    await sync_to_async(restore)()
    plan, _ = await ring.run()
    assert (plan.applied, plan.ended) == (0, 2)
    assert await sync_to_async(history)() == [
        (await sync_to_async(lambda: Row.objects.order_by("number")[0].command_id)(), "added"),
        (stale, "cancelled"),
        (withdrawn, "cancelled"),
    ]
    assert await sync_to_async(lambda: Row.objects.get(command_id=stale).state)() == "REJECTED"


def decide_unless_defect(stored: object, command: Command) -> object:
    if name_of(command.body) == "defect":
        raise ZeroDivisionError("a planted defect")
    return decide(stored, command)


def parked_then_discarded(monkeypatch: pytest.MonkeyPatch, *, in_backup: bool) -> tuple[Callable[[], None], list[str]]:
    """A backup from before a discard, with or without the parked command in it; the commands, in their order.

    The database goes by the name "defect"; what is behind it is applied once it is discarded.
    """
    monkeypatch.setattr(unit_of_work, "decide", decide_unless_defect)
    first = add("Ada")
    done(first)
    restore = backup()
    defect = journaled(update(contact_of(first), "defect"))
    behind = journaled(update(contact_of(first), "behind", depends_on=id_of(defect)))
    settle(apply([defect, behind]).notices)
    if in_backup:
        restore = backup()
    parking = models.ParkedCommand.objects.get(pk=id_of(defect)).notice
    Row.objects.filter(command_id=id_of(defect)).update(
        operation="DISCARD", operation_notice=parking, operation_by="grace", operation_open=True
    )
    settle(apply([operated(defect, Operation.DISCARD, parking, actor="grace")]).notices)
    settle(retry_parked().notices)
    done(update(contact_of(first), "last", depends_on=id_of(behind)))
    return restore, [id_of(first), id_of(defect), id_of(behind)]


@pytest.mark.parametrize(
    "in_backup",
    [
        pytest.param(False, id="parked after the backup"),
        pytest.param(True, id="parked in the backup"),
    ],
)
async def test_what_an_operator_discarded_stays_so_and_what_was_behind_it_follows_in_order(
    ring: Ring, monkeypatch: pytest.MonkeyPatch, in_backup: bool
) -> None:
    restore, (first, discarded, behind) = await sync_to_async(parked_then_discarded)(monkeypatch, in_backup=in_backup)
    there_was = await sync_to_async(contacts)()
    await sync_to_async(restore)()
    # What made it fail is mended by now: tried again, it would take effect.
    monkeypatch.setattr(unit_of_work, "decide", decide)
    plan, replayed = await ring.run()
    assert (plan.applied, plan.ended, replayed.parked) == (2, 1, [])

    assert await sync_to_async(contacts)() == there_was
    told = [(command_id, what) for command_id, what in await sync_to_async(history)() if what != "parked"]
    assert told[:3] == [(first, "added"), (discarded, "cancelled"), (behind, "updated")]
    assert [what for _, what in told[3:]] == ["updated"]
    assert await sync_to_async(models.ParkedCommand.objects.count)() == 0
    assert await sync_to_async(lambda: Row.objects.get(command_id=discarded).state)() == "DISCARDED"


async def test_what_the_backup_has_parked_and_took_effect_since_is_tried_again(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def happens() -> tuple[Callable[[], None], str]:
        monkeypatch.setattr(unit_of_work, "decide", decide_unless_defect)
        first = add("Ada")
        done(first)
        defect = journaled(update(contact_of(first), "defect"))
        settle(apply([defect]).notices)
        restore = backup()
        monkeypatch.setattr(unit_of_work, "decide", decide)
        parking = models.ParkedCommand.objects.get(pk=id_of(defect)).notice
        settle(apply([operated(defect, Operation.RETRY, parking, actor="grace")]).notices)
        return restore, id_of(defect)

    restore, defect = await sync_to_async(happens)()
    there_was = await sync_to_async(contacts)()
    await sync_to_async(restore)()
    plan, replayed = await ring.run()
    assert (plan.applied, plan.ended, replayed.parked) == (1, 0, [])
    assert await sync_to_async(contacts)() == there_was
    assert (await sync_to_async(history)())[-1] == (defect, "updated")
    assert await sync_to_async(models.ParkedCommand.objects.count)() == 0


async def test_a_command_whose_end_was_not_heard_goes_before_what_followed_on_it(ring: Ring) -> None:
    def happens() -> tuple[Callable[[], None], list[str]]:
        first = add("Ada")
        done(first)
        restore = backup()
        unheard = journaled(update(contact_of(first), "second"))
        apply([unheard])
        done(update(contact_of(first), "third", depends_on=id_of(unheard)))
        return restore, [command_id for command_id, _ in history()]

    restore, order = await sync_to_async(happens)()
    await sync_to_async(restore)()
    await ring.run()
    assert [command_id for command_id, _ in await sync_to_async(history)()] == order


async def test_what_was_pruned_is_told_and_from_when_on_the_rest_is_complete(ring: Ring) -> None:
    _, _, _ = await sync_to_async(some_history)()

    def prune() -> object:
        Row.objects.filter(notice_number__lte=3).delete()
        reset()
        return Row.objects.get(notice_number=4).settled_at

    oldest = await sync_to_async(prune)()
    plan, replayed = await ring.run()
    assert (plan.lost, plan.applied, plan.pruned, plan.complete_from) == (8, 5, 3, oldest)
    # Of contacts that are missing nothing can be changed: that is said.
    assert len(replayed.rejected) == 2


async def test_a_second_loss_is_replayed_as_the_first(ring: Ring) -> None:
    restore, _, told = await sync_to_async(some_history)()
    # In the new history the numbers are others: somebody else's commands came first.
    await sync_to_async(restore)()
    await sync_to_async(apply)([add("somebody else's")])
    await ring.run()
    second = await sync_to_async(backup)()
    more = add("Alan")
    await sync_to_async(done)(more)
    await sync_to_async(second)()
    plan, replayed = await ring.run()
    assert (plan.common, plan.applied, replayed.sent) == (9, 1, 1)
    assert (await sync_to_async(history)())[-1] == (id_of(more), "added")
    assert len(await sync_to_async(history)()) == len(told) + 2


async def test_an_older_backup_put_in_the_place_of_another_is_looked_at_anew(ring: Ring) -> None:
    def happens() -> tuple[Callable[[], None], Callable[[], None]]:
        done(add("Ada"))
        older = backup()
        done(add("Grace"))
        newer = backup()
        done(add("Edsger"))
        return older, newer

    older, newer = await sync_to_async(happens)()
    await sync_to_async(newer)()
    plan = await (await ring.redrive()).plan()
    assert plan is not None
    assert plan.common == 2
    await sync_to_async(older)()
    plan, replayed = await ring.run()
    assert (plan.common, replayed.sent) == (1, 2)


async def test_to_go_on_without_has_what_waits_wait_for_nothing_that_was_lost(ring: Ring) -> None:
    def happens() -> tuple[str, list[str]]:
        first = add("Ada")
        done(first)
        second = journaled(update(contact_of(first), "second", depends_on=id_of(first)))
        third = journaled(update(contact_of(first), "third", depends_on=id_of(second)))
        reset()
        return id_of(second), [id_of(first), id_of(second), id_of(third)]

    second, ids = await sync_to_async(happens)()
    one = await ring.redrive()
    assert await one.plan()
    await one.skip()

    def rows_are() -> list[tuple[str, str, int | None]]:
        return list(Row.objects.order_by("number").values_list("command_id", "depends_on", "notice_number"))

    assert await sync_to_async(rows_are)() == [(ids[0], "", None), (ids[1], "", None), (ids[2], second, None)]
    row = await sync_to_async(tracked_history.read)()
    assert row is not None
    assert row.lost_at is None
    assert await sync_to_async(history)() == []


async def test_a_plan_pauses_the_gateways_before_any_of_them_has_noticed(ring: Ring) -> None:
    await sync_to_async(done)(add("Ada"))
    await sync_to_async(reset)()
    assert await (await ring.redrive()).plan()
    row = await sync_to_async(TrackedHistory.objects.get)()
    assert row.lost_at is not None
    assert "reset" in row.lost_why


async def test_where_nothing_is_followed_there_is_nothing_to_replay(ring: Ring) -> None:
    assert await (await ring.redrive()).plan() is None
