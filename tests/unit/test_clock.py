"""A clock that is set back: what was accepted before is due in a future that may be hours away."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async

from cqrs.journal.clock import Clock, now
from cqrs.journal.models import Command as Row
from cqrs.store import dead_letters
from cqrs.store.database import ALIAS, now_ms
from cqrs.store.models import ParkedCommand
from tests.support.journals import notice, uses_the_journal
from tests.unit.journal.test_sweep import Gateway, age, gateway

HOUR = timedelta(hours=1)


async def set_back(*command_ids: str) -> None:
    """As if the clock had been set back by an hour since these were accepted."""
    accepted_at = now() + HOUR
    rows = Row.objects.filter(command_id__in=command_ids)
    await sync_to_async(rows.update)(accepted_at=accepted_at, takes_effect_at=accepted_at + timedelta(seconds=0.2))


def let_pass(one: Gateway, seconds: float) -> None:
    """As if so many seconds had passed on the clock that never jumps."""
    one.sweep._asked = {
        key: asked._replace(again_at=asked.again_at - seconds) for key, asked in one.sweep._asked.items()
    }


@uses_the_journal
async def test_what_is_due_in_an_hour_is_asked_for_once_its_delay_has_passed() -> None:
    async with gateway() as one:
        await one.first_round()
        (lost,) = await one.send("c1")
        await set_back(lost)
        await one.sweep.repair()
        let_pass(one, 1.0)
        await one.sweep.repair()
        assert one.reader.asked == []
        let_pass(one, 0.3)
        await one.sweep.repair()
        assert one.reader.asked == [lost]
        assert one.link.sent_ids() == [lost]
        # Then with the usual pauses.
        await one.sweep.repair()
        assert one.reader.asked == [lost]


@uses_the_journal
async def test_what_fills_pages_and_is_due_in_an_hour_hides_nothing_that_is_overdue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cqrs.journal.sweep.ASK_AT_ONCE", 2)
    async with gateway() as one:
        await one.first_round()
        ahead = await one.send("a1", "a2", "a3", "a4", "a5")
        await set_back(*ahead)
        overdue = await one.send("c1", "c2", "c3")
        await age(10, *overdue)
        one.fall_silent()
        for _ in range(3):
            await one.sweep.repair()
        assert sorted(one.reader.asked) == sorted(overdue)
        let_pass(one, 1.3)
        one.reader.asked.clear()
        one.link.messages.clear()
        for _ in range(3):
            await one.sweep.repair()
        assert set(ahead) <= set(one.link.sent_ids())


@uses_the_journal
async def test_how_far_the_database_is_follows_a_clock_that_was_set_back() -> None:
    async with gateway() as one:
        before, after = await one.send("c1", "c2")
        one.journal.settle([notice(before)])
        newest = one.journal.newest_due
        one.journal.clock = Clock(wall=lambda: newest - 3600)
        unsettled = one.journal._committer.unsettled
        unsettled.remove(after)
        unsettled.add([(after, ("contact", "c2"))], newest - 3600)
        one.journal.settle([notice(after)])
        assert one.journal.newest_due == newest - 3600


@pytest.mark.django_db(databases=[ALIAS])
@pytest.mark.parametrize("wait", [-1, 3_600_000], ids=["due", "of before the clock was set back"])
def test_a_parked_command_is_tried_again_whatever_the_clock_does(wait: int) -> None:
    now_is = now_ms()
    made = ParkedCommand(
        command_id="c", aggregate="contact", aggregate_id="x", parked_at=now_is, notice=1, payload=b"", cause="a defect"
    )
    made.next_attempt_at = now_is + wait
    made.save(using=ALIAS)
    assert [row.command_id for row in dead_letters.due(now_is, 10)] == ["c"]


@pytest.mark.django_db(databases=[ALIAS])
def test_a_parked_command_that_waits_its_turn_is_left() -> None:
    now_is = now_ms()
    made = ParkedCommand(
        command_id="c", aggregate="contact", aggregate_id="x", parked_at=now_is, notice=1, payload=b"", cause="a defect"
    )
    made.next_attempt_at = now_is + 1000 * 2 ** (dead_letters.RETRIES - 1)
    made.save(using=ALIAS)
    assert dead_letters.due(now_is, 10) == []
