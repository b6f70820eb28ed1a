import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper

import contacts_write as api
from cqrs.journal import committer, completions, rows
from cqrs.journal import journal as journal_module
from cqrs.journal.errors import JournalFull, JournalUnavailable, KeyConflict, NotCancellable, UnknownCommand
from cqrs.journal.insertion import Insertion
from cqrs.journal.models import Command as Row
from cqrs.journal.pending import Unsettled
from cqrs.journal.record import Record
from cqrs.journal.settlement import Settlement
from protocol.cqrs_command_pb2 import Command
from protocol.cqrs_notice_pb2 import Notice
from tests.support import envelopes as commands
from tests.support.journals import id_of, notice, open_journal, row, rows_in_order, updates, uses_the_journal
from tests.support.polling import eventually

pytestmark = uses_the_journal


def _ignore(_told: object) -> None: ...


async def settle_and_record(journal: journal_module.Journal, *notices: Notice) -> None:
    """Settles, and waits until the rows say so."""
    journal.settle(notices)
    for one in notices:
        await until_recorded(one.command_id)


async def until_recorded(command_id: str, state: str = "") -> Row:
    deadline = time.monotonic() + 5
    while True:
        found = await row(command_id)
        if found.state == state or (not state and found.settled_at):
            return found
        assert time.monotonic() < deadline, f"{command_id} is still {found.state}"
        await asyncio.sleep(0.01)


class TestAccepting:
    async def test_what_is_accepted_stands_in_the_database(self) -> None:
        command = commands.update("c1", "Ada", expected_version=2, actor="grace")
        async with open_journal("gateway-1", delay=3) as journal:
            (accepted,) = await journal.accept([command])
            found = await row(id_of(command))
        assert (found.kind, found.aggregate_id, found.expected_version) == ("contact.update", "c1", 2)
        assert bytes(found.body) == command.body
        assert (found.actor, found.owner, found.state, found.settled_at) == ("grace", "gateway-1", "QUEUED", None)
        assert accepted == (found.command_id, "contact", "c1", found.accepted_at, found.takes_effect_at)
        assert accepted.takes_effect_at - accepted.accepted_at == timedelta(seconds=3)
        assert abs(accepted.accepted_at - datetime.now(UTC)) < timedelta(seconds=5)
        assert accepted.accepted_at.microsecond % 1000 == 0

    async def test_concurrent_callers_share_a_commit_and_each_gets_its_own_answer(self) -> None:
        sent = [commands.add(f"name {number}") for number in range(200)]
        commits = 0
        async with open_journal() as journal:
            real = Insertion.write

            def counted(insertion: Insertion, *arguments: Any) -> list[Record]:
                nonlocal commits
                commits += 1
                return real(insertion, *arguments)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Insertion, "write", counted)
                answers = await asyncio.gather(*(journal.accept([command]) for command in sent))
        assert [accepted.command_id for (accepted,) in answers] == [id_of(command) for command in sent]
        assert commits < 20
        assert len(await rows_in_order()) == 200

    @pytest.mark.parametrize("setting", ["SPACING", "BUSY_SPACING"])
    async def test_what_comes_soon_after_a_commit_shares_the_next(
        self, setting: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(committer, setting, 1)
        if setting == "BUSY_SPACING":
            monkeypatch.setattr(committer, "BUSY", 1)
            monkeypatch.setattr(committer, "SPACING", 0)
        told: list[list[str]] = []
        async with open_journal() as journal:
            journal.listen(lambda records: told.append([r.command_id for r in records]), _ignore, _ignore)
            sent = [commands.add(f"name {number}") for number in range(4)]
            await journal.accept(sent[:1])
            await asyncio.gather(*(journal.accept([command]) for command in sent[1:]))
        assert told == [[id_of(sent[0])], [id_of(command) for command in sent[1:]]]

    async def test_rows_are_told_after_their_commit_in_order_with_their_numbers(self) -> None:
        told: list[tuple[int, str]] = []
        async with open_journal() as journal:
            journal.listen(lambda records: told.extend((r.number, r.command_id) for r in records), _ignore, _ignore)
            await asyncio.gather(*(journal.accept(updates("c1", 3)) for _ in range(20)))
        assert told == [(found.number, found.command_id) for found in await rows_in_order()]

    async def test_after_closing_nothing_is_accepted(self) -> None:
        async with open_journal() as journal:
            pass
        with pytest.raises(JournalUnavailable, match="closed"):
            await journal.accept(updates("c1", 1))

    async def test_what_waits_when_it_is_closed_is_still_committed(self) -> None:
        async with open_journal() as journal:
            waiting = [asyncio.create_task(journal.accept(updates("c1", 1))) for _ in range(50)]
            await asyncio.sleep(0)
        assert len(await asyncio.gather(*waiting)) == len(await rows_in_order()) == 50


class TestOrder:
    async def test_aggregates_of_different_kinds_with_the_same_id_are_not_chained(self) -> None:
        async with open_journal() as journal:
            (first,) = updates("x1", 1)
            await journal.accept([first])
            other = Command(kind="note.write", aggregate_id="x1", meta=commands.meta())
            await journal.accept([other])
            assert await journal.is_pending("note", "x1")
            journal.settle([notice(id_of(other))])
            assert not await journal.is_pending("note", "x1")
            assert await journal.is_pending("contact", "x1")
        assert (await row(id_of(other))).depends_on == ""

    async def test_a_command_names_the_last_unsettled_one_of_its_contact(self) -> None:
        async with open_journal() as journal:
            first, second = updates("c1", 2)
            await journal.accept([first])
            await journal.accept([commands.update("c2", "Bob")])
            await journal.accept([second])
        assert (await row(id_of(first))).depends_on == ""
        assert (await row(id_of(second))).depends_on == id_of(first)

    async def test_commands_of_one_contact_are_chained_within_a_commit(self) -> None:
        async with open_journal() as journal:
            await asyncio.gather(*(journal.accept(updates("c1", 2)) for _ in range(10)))
        found = await rows_in_order()
        assert [each.depends_on for each in found] == ["", *(each.command_id for each in found[:-1])]

    async def test_what_is_settled_is_not_depended_on(self) -> None:
        async with open_journal() as journal:
            first, second = updates("c1", 2)
            await journal.accept([first])
            journal.settle([notice(id_of(first))])
            await journal.accept([second])
        assert (await row(id_of(second))).depends_on == ""

    async def test_a_cancelled_command_in_between_does_not_hide_the_one_before_it(self) -> None:
        async with open_journal() as journal:
            first, second, third = updates("c1", 3)
            await journal.accept([first, second])
            journal.settle([notice(id_of(second), Notice.CANCELLED)])
            await journal.accept([third])
        assert (await row(id_of(third))).depends_on == id_of(first)

    async def test_a_parked_command_is_depended_on(self) -> None:
        async with open_journal() as journal:
            first, second = updates("c1", 2)
            await journal.accept([first])
            journal.settle([notice(id_of(first), Notice.PARKED)])
            await until_recorded(id_of(first), "PARKED")
            await journal.accept([second])
        assert (await row(id_of(second))).depends_on == id_of(first)

    async def test_the_commands_of_another_gateway_are_depended_on_in_turn(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            for number in range(10):
                await (one if number % 2 else two).accept(updates("c1", 1))
        found = await rows_in_order()
        assert [each.depends_on for each in found] == ["", *(each.command_id for each in found[:-1])]

    async def test_two_gateways_at_once_make_one_chain(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            await asyncio.gather(*(each.accept(updates("c1", 1)) for _ in range(40) for each in (one, two)))
        found = await rows_in_order()
        assert {each.owner for each in found} == {"gateway-1", "gateway-2"}
        assert [each.depends_on for each in found] == ["", *(each.command_id for each in found[:-1])]

    async def test_a_row_without_an_owner_is_depended_on(self) -> None:
        async with open_journal() as journal:
            before = await api.aupdate_contact("c1", "from a shell")
            command = commands.update("c1", "Ada")
            await journal.accept([command])
            after = await api.aupdate_contact("c1", "from a shell again")
            await journal.catch_up()
        assert (await row(id_of(command))).depends_on == before.command_id
        assert (await row(after.command_id)).depends_on == id_of(command)

    async def test_what_an_earlier_run_left_unsettled_is_depended_on(self) -> None:
        first, second = updates("c1", 2)
        async with open_journal("gateway-1") as journal:
            await journal.accept([first])
        async with open_journal("gateway-2") as journal:
            await journal.accept([second])
        assert (await row(id_of(second))).depends_on == id_of(first)

    async def test_an_end_that_is_heard_before_the_row_is_seen_counts(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            first, second = updates("c1", 2)
            await one.accept([first])
            two.settle([notice(id_of(first))])  # and only now it sees the row
            await two.accept([second])
            assert not two.is_unsettled(id_of(first))
        assert (await row(id_of(second))).depends_on == ""


class TestIdempotencyKeys:
    async def test_the_same_key_and_arguments_get_the_same_answer_and_one_row(self) -> None:
        async with open_journal() as journal:
            (first,) = await journal.accept([commands.add("Ada", command_id="key-1", actor="grace")])
            (again,) = await journal.accept([commands.add("Ada", command_id="key-1", actor="alan")])
        assert again == first
        assert len(await rows_in_order()) == 1

    async def test_that_holds_within_one_commit_and_within_one_call(self) -> None:
        async with open_journal() as journal:
            keyed = [commands.update("c1", "Ada", command_id="key-1") for _ in range(3)]
            answers = await asyncio.gather(*(journal.accept(keyed) for _ in range(10)))
        assert len({accepted for answer in answers for accepted in answer}) == 1
        assert [found.depends_on for found in await rows_in_order()] == [""]

    async def test_that_holds_through_another_gateway_and_after_it_was_settled(self) -> None:
        command = commands.update("c1", "Ada", command_id="key-1")
        async with open_journal("gateway-1") as journal:
            (first,) = await journal.accept([command])
            await settle_and_record(journal, notice("key-1"))
        async with open_journal("gateway-2", delay=60) as journal:
            assert await journal.accept([command]) == [first]
            assert journal.unsettled == 0

    @pytest.mark.parametrize(
        "other",
        [
            commands.update("c1", "Bob", command_id="key-1", expected_version=1),
            commands.update("c2", "Ada", command_id="key-1", expected_version=1),
            commands.update("c1", "Ada", command_id="key-1"),
            commands.delete("c1", command_id="key-1", expected_version=1),
        ],
        ids=["name", "id", "expected version", "kind"],
    )
    async def test_other_arguments_are_refused_without_a_word_of_those_that_were_used(self, other: Command) -> None:
        async with open_journal() as journal:
            await journal.accept([commands.update("c1", "Ada", command_id="key-1", expected_version=1)])
            with pytest.raises(KeyConflict) as refused:
                await journal.accept([other])
            assert len(await rows_in_order()) == 1
        assert str(refused.value) == "command id key-1 was used before with other arguments"

    async def test_a_conflict_accepts_none_of_the_call_and_all_of_the_others(self) -> None:
        async with open_journal() as journal:
            await journal.accept([commands.update("c1", "Ada", command_id="key-1")])
            good, bad = updates("c1", 1), [*updates("c1", 1), commands.update("c1", "Bob", command_id="key-1")]
            results = await asyncio.gather(journal.accept(bad), journal.accept(good), return_exceptions=True)
        assert isinstance(results[0], KeyConflict)
        assert [found.command_id for found in await rows_in_order()] == ["key-1", id_of(good[0])]
        assert (await row(id_of(good[0]))).depends_on == "key-1"

    async def test_fresh_ids_are_not_looked_up_and_those_beside_them_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        looked_up: list[str] = []
        real = Insertion.look_up

        def look_up(insertion: Insertion, command_ids: Iterable[str]) -> None:
            ids = list(command_ids)
            looked_up.extend(ids)
            real(insertion, ids)

        monkeypatch.setattr(Insertion, "look_up", look_up)
        keyed, fresh = commands.update("c1", "Ada", command_id="key-1"), updates("c1", 3)
        async with open_journal() as journal:
            (first,) = await journal.accept([keyed])
            _, (again,) = await asyncio.gather(journal.accept(fresh, fresh=True), journal.accept([keyed]))
            # What was fresh once is known from then on.
            assert (await journal.accept(fresh[:1]))[0].command_id == id_of(fresh[0])
        assert again == first
        assert looked_up == ["key-1", "key-1", id_of(fresh[0])]
        found = await rows_in_order()
        assert [one.depends_on for one in found] == ["", *(one.command_id for one in found[:-1])]

    async def test_a_known_id_said_to_be_fresh_takes_effect_once_all_the_same(self) -> None:
        command = commands.update("c1", "Ada")
        async with open_journal() as journal:
            (first,) = await journal.accept([command], fresh=True)
            with pytest.raises(JournalUnavailable):
                await journal.accept([command], fresh=True)
            assert await journal.accept([command]) == [first]
        assert len(await rows_in_order()) == 1


class TestBounds:
    async def test_a_full_journal_refuses_and_a_settled_command_makes_room(self) -> None:
        async with open_journal(limit=3) as journal:
            first, *rest = updates("c1", 3)
            await journal.accept([first, *rest])
            with pytest.raises(JournalFull):
                await journal.accept(updates("c2", 1))
            journal.settle([notice(id_of(first))])
            await journal.accept(updates("c2", 1))
            with pytest.raises(JournalFull):
                await journal.accept(updates("c2", 1))

    async def test_what_is_known_gets_its_answer_from_a_full_journal_too(self) -> None:
        async with open_journal(limit=1) as journal:
            command = commands.add("Ada", command_id="key-1")
            assert await journal.accept([command]) == await journal.accept([command])

    async def test_the_limit_counts_what_all_gateways_left(self) -> None:
        async with open_journal("gateway-1", limit=2) as one, open_journal("gateway-2", limit=2) as two:
            await one.accept(updates("c1", 2))
            with pytest.raises(JournalFull):
                await two.accept(updates("c2", 1))
        async with open_journal("gateway-3", limit=2) as three:
            with pytest.raises(JournalFull):
                await three.accept(updates("c3", 1))

    async def test_too_many_that_wait_are_refused_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "MAX_WAITING", 5)
        async with open_journal() as journal:
            results = await asyncio.gather(
                *(journal.accept(updates("c1", 2)) for _ in range(4)), return_exceptions=True
            )
            assert [isinstance(result, JournalFull) for result in results] == [False, False, True, True]
            await journal.accept(updates("c1", 5))

    async def test_too_many_listeners_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(completions, "MAX_LISTENERS", 1)
        async with open_journal() as journal:
            command = commands.add("Ada")
            await journal.accept([command])
            waiting = asyncio.create_task(journal.settled(id_of(command), 5))
            await asyncio.sleep(0)
            with pytest.raises(JournalFull):
                await journal.settled(id_of(command), 5)
            journal.settle([notice(id_of(command), Notice.ADDED)])
            assert (await waiting).state == "APPLIED"


class TestFailures:
    async def test_a_database_that_fails_refuses_those_that_waited_and_recovers(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "cqrs.journal.journal")
        async with open_journal() as journal:
            (before,) = updates("c1", 1)
            await journal.accept([before])

            def full(*_: object) -> None:
                raise OperationalError("database or disk is full")

            with monkeypatch.context() as patch:
                patch.setattr(Insertion, "write", full)
                for _ in range(2):
                    with pytest.raises(JournalUnavailable, match="cannot be written: database or disk is full"):
                        await journal.accept(updates("c1", 1))
                assert journal.unsettled == 1
            (after,) = updates("c1", 1)
            await journal.accept([after])
        assert (await row(id_of(after))).depends_on == id_of(before)
        assert [record.getMessage() for record in caplog.records] == [
            "the journal cannot be written: database or disk is full",
            "the journal is written again",
        ]

    async def test_a_defect_fails_the_commit_and_not_the_journal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with open_journal() as journal:
            with monkeypatch.context() as patch:
                patch.setattr(Insertion, "write", lambda *_: 1 / 0)
                with pytest.raises(JournalUnavailable, match="defect"):
                    await journal.accept(updates("c1", 1))
            await journal.accept(updates("c1", 1))

    async def test_a_thread_that_dies_leaves_no_caller_waiting_and_is_reported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_journal() as journal:
            watch = asyncio.create_task(journal.watch())

            def die(_committer: object) -> None:
                raise ZeroDivisionError("a planted defect")

            # Outside of what a transaction may fail with.
            monkeypatch.setattr(committer.Committer, "_recovered", die)
            results = await asyncio.wait_for(
                asyncio.gather(*(journal.accept(updates("c1", 1)) for _ in range(5)), return_exceptions=True), 5
            )
            assert {type(result) for result in results} == {JournalUnavailable}
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(watch, 5)
            with pytest.raises(JournalUnavailable):
                await journal.accept(updates("c1", 1))

    async def test_ends_that_could_not_be_recorded_are_recorded_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(completions, "RECORD_AGAIN", 0.01)
        real, failures = rows.settle, 2

        def failing(cursor: object, ends: Mapping[str, Settlement]) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise OperationalError("database is locked")
            return real(cursor, ends)  # type: ignore[arg-type]

        monkeypatch.setattr(rows, "settle", failing)
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command))])
            found = await journal.find(id_of(command))
            assert found is not None
            assert found.state == "APPLIED"
            await until_recorded(id_of(command))
        assert failures == 0

    async def test_without_its_table_it_does_not_open(self) -> None:
        def rename(old: str, new: str) -> None:
            with connection.schema_editor() as editor:
                editor.alter_db_table(Row, old, new)

        await sync_to_async(rename)("cqrs_command", "elsewhere")
        try:
            with pytest.raises(JournalUnavailable, match=r"no such table|does not exist"):
                async with open_journal():
                    pass
        finally:
            await sync_to_async(rename)("elsewhere", "cqrs_command")


class TestSettling:
    @pytest.mark.parametrize(
        ("kind", "state"),
        [
            (Notice.ADDED, "APPLIED"),
            (Notice.UPDATED, "APPLIED"),
            (Notice.DELETED, "APPLIED"),
            (Notice.REJECTED, "REJECTED"),
            (Notice.CANCELLED, "CANCELLED"),
            (Notice.DISCARDED, "DISCARDED"),
        ],
    )
    async def test_an_end_is_recorded(self, kind: int, state: str) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            told = notice(id_of(command), kind, version=4, message="so it is")
            journal.settle([told])
            found = await until_recorded(id_of(command))
            assert journal.unsettled == 0
        assert (found.state, found.version, found.message, found.reason) == (state, 4, "so it is", "")
        assert found.settled_at is not None
        assert abs(found.settled_at - told.committed_at.ToDatetime(UTC)) < timedelta(milliseconds=1)

    async def test_a_rejection_keeps_its_reason(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command), Notice.REJECTED, version=None, reason=Notice.CONFLICT)])
            found = await until_recorded(id_of(command))
        assert (found.state, found.reason, found.version) == ("REJECTED", "CONFLICT", None)

    async def test_an_end_is_never_taken_back(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command), version=5)])
            journal.settle([notice(id_of(command), Notice.PARKED), notice(id_of(command), Notice.CANCELLED)])
            await until_recorded(id_of(command))
            await eventually(lambda: not journal.is_settled(id_of(command)))
            journal.settle([notice(id_of(command), Notice.PARKED), notice(id_of(command), Notice.CANCELLED)])
            await eventually(lambda: not journal.is_settled(id_of(command)))
            found = await row(id_of(command))
        assert (found.state, found.version) == ("APPLIED", 5)

    async def test_a_parked_command_is_not_settled_and_can_still_end(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command), Notice.PARKED, message="a defect")])
            found = await until_recorded(id_of(command), "PARKED")
            assert (found.settled_at, found.message) == (None, "a defect")
            assert journal.unsettled == 1
            journal.settle([notice(id_of(command))])
            await until_recorded(id_of(command), "APPLIED")

    async def test_what_was_handed_over_can_still_turn_out_to_be_applied(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.hand_over([id_of(command)])
            assert (await until_recorded(id_of(command))).state == "HANDED_OVER"
            assert journal.unsettled == 0
            journal.settle([notice(id_of(command))])
            await until_recorded(id_of(command), "APPLIED")

    async def test_a_command_of_another_gateway_is_settled_too(self) -> None:
        async with open_journal("gateway-1") as one:
            (command,) = updates("c1", 1)
            await one.accept([command])
        async with open_journal("gateway-2") as two:
            await settle_and_record(two, notice(id_of(command)))

    async def test_ends_that_were_heard_are_recorded_on_closing(self) -> None:
        async with open_journal() as journal:
            sent = updates("c1", 5)
            await journal.accept(sent)
            journal.settle([notice(id_of(command)) for command in sent])
        assert {found.state for found in await rows_in_order()} == {"APPLIED"}

    async def test_notices_of_strangers_and_of_unknown_kinds_do_no_harm(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice("stranger"), notice(""), Notice(kind=99, command_id=id_of(command))])  # type: ignore[arg-type]
            await eventually(lambda: not journal.is_settled("stranger"))
            assert (await row(id_of(command))).state == "QUEUED"

    async def test_hearing_is_bounded_for_strangers_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "MAX_KNOWN", 2)
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(f"stranger-{number}") for number in range(5)])
            journal.settle([notice(id_of(command))])
            assert [journal.is_settled(f"stranger-{number}") for number in range(5)] == [
                True,
                True,
                False,
                False,
                False,
            ]
            assert journal.is_settled(id_of(command))

    async def test_an_end_that_is_heard_while_another_word_is_being_recorded_is_kept_until_it_is_recorded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, proceed = rows.settle, threading.Event()

        def slow(cursor: CursorWrapper, ends: Mapping[str, Settlement]) -> set[str]:
            locked = real(cursor, ends)
            assert proceed.wait(5)
            return locked

        monkeypatch.setattr(rows, "settle", slow)
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command), Notice.PARKED)])
            await eventually(lambda: not journal._completions._to_record)
            journal.settle([notice(id_of(command))])
            proceed.set()
            while (await row(id_of(command))).state != "APPLIED":
                found = await journal.find(id_of(command))
                assert found is not None
                assert found.state == "APPLIED"


class TestAsking:
    async def test_an_unknown_command_is_not_found(self) -> None:
        async with open_journal() as journal:
            assert await journal.find("nothing") is None
            with pytest.raises(UnknownCommand):
                await journal.settled("nothing", 1)

    async def test_what_was_said_to_be_settled_stays_so_while_it_is_being_recorded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = rows.find
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            loop = asyncio.get_running_loop()

            def slow(command_id: str) -> Row | None:
                """Reads the row; before it answers, the end is heard, recorded and forgotten."""
                found = real(command_id)
                loop.call_soon_threadsafe(journal.settle, [notice(command_id)])
                deadline = time.monotonic() + 5
                while Row.objects.get(command_id=command_id).state != "APPLIED" or journal.is_settled(command_id):
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                assert found is not None
                assert found.state == "QUEUED"
                return found

            monkeypatch.setattr(rows, "find", slow)
            found = await journal.find(id_of(command))
        assert found is not None
        assert found.state == "APPLIED"

    async def test_waiting_ends_with_the_notice(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            waiting = [asyncio.create_task(journal.settled(id_of(command), 5)) for _ in range(3)]
            await asyncio.sleep(0)
            journal.settle([notice(id_of(command), version=7)])
            assert [(found.state, found.version) for found in await asyncio.gather(*waiting)] == [("APPLIED", 7)] * 3

    async def test_waiting_ends_at_once_where_it_is_settled_already(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command))])
            assert (await journal.settled(id_of(command), 5)).state == "APPLIED"
            await until_recorded(id_of(command))
        async with open_journal() as journal:
            assert (await journal.settled(id_of(command), 5)).state == "APPLIED"

    async def test_waiting_for_a_parked_command_says_so_at_once(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            waiting = asyncio.create_task(journal.settled(id_of(command), 5))
            await asyncio.sleep(0)
            journal.settle([notice(id_of(command), Notice.PARKED, message="a defect")])
            assert ((await waiting).state, (await waiting).message) == ("PARKED", "a defect")

    async def test_waiting_ends_with_its_time(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            with pytest.raises(TimeoutError):
                await journal.settled(id_of(command), 0.05)

    async def test_the_end_of_another_gateways_command_is_waited_for(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            (command,) = updates("c1", 1)
            await one.accept([command])
            waiting = asyncio.create_task(two.settled(id_of(command), 5))
            await asyncio.sleep(0)
            two.settle([notice(id_of(command))])
            assert (await waiting).state == "APPLIED"

    async def test_an_end_that_only_another_gateway_heard_is_noticed(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            (command,) = updates("c1", 1)
            await one.accept([command])
            await two.catch_up()
            assert two.unsettled == 1
            waiting = asyncio.create_task(two.settled(id_of(command), 5))
            await settle_and_record(one, notice(id_of(command), version=3))
            await two.reconcile()
            assert two.unsettled == 0
            assert ((await waiting).state, (await waiting).version) == ("APPLIED", 3)

    async def test_a_contact_is_pending_while_a_command_of_it_is_unsettled_anywhere(self) -> None:
        async with open_journal("gateway-1") as one, open_journal("gateway-2") as two:
            (command,) = updates("c1", 1)
            assert not await one.is_pending("contact", "c1")
            await one.accept([command])
            assert await one.is_pending("contact", "c1")
            assert await two.is_pending("contact", "c1")
            one.settle([notice(id_of(command))])
            assert not await one.is_pending("contact", "c1")
            two.settle([notice(id_of(command))])
            assert not await two.is_pending("contact", "c1")


class TestCancelling:
    async def test_a_cancel_is_written_and_told(self) -> None:
        told = []
        async with open_journal() as journal:
            journal.listen(_ignore, told.append, _ignore)
            (command,) = updates("c1", 1)
            (accepted,) = await journal.accept([command])
            assert await journal.cancel(id_of(command), "grace") == accepted
            assert await journal.cancel(id_of(command), "alan") == accepted
            found = await row(id_of(command))
        assert (found.state, found.cancel_requested_by) == ("QUEUED", "grace")
        assert found.cancel_requested_at is not None
        assert [(entry.command_id, entry.cancelled) for entry in told] == [(id_of(command), True)] * 2

    async def test_an_unknown_command_cannot_be_cancelled(self) -> None:
        async with open_journal() as journal:
            with pytest.raises(UnknownCommand):
                await journal.cancel("nothing")

    async def test_what_has_ended_cannot_be_cancelled_recorded_or_not(self) -> None:
        async with open_journal() as journal:
            (command,) = updates("c1", 1)
            await journal.accept([command])
            journal.settle([notice(id_of(command))])
            with pytest.raises(NotCancellable, match="is applied already"):
                await journal.cancel(id_of(command))
            await until_recorded(id_of(command))
            await eventually(lambda: not journal.is_settled(id_of(command)))
            with pytest.raises(NotCancellable, match="is applied already"):
                await journal.cancel(id_of(command))

    async def test_one_refused_cancel_does_not_harm_those_in_its_commit(self) -> None:
        async with open_journal() as journal:
            results = await asyncio.gather(
                journal.cancel("nothing"), journal.accept(updates("c1", 1)), return_exceptions=True
            )
        assert isinstance(results[0], UnknownCommand)
        assert len(await rows_in_order()) == 1


class TestClaiming:
    async def test_a_row_goes_to_one_gateway_and_never_once_it_was_sent(self) -> None:
        async with open_journal("gateway-1") as dead:
            sent, unsent = updates("c1", 2)
            await dead.accept([sent, unsent])
            await dead.write(lambda: rows.mark_sent([id_of(sent)]))
        numbers = [found.number for found in await rows_in_order()]
        async with open_journal("gateway-2") as two, open_journal("gateway-3") as three:
            claimed = await asyncio.gather(
                two.write(lambda: rows.take_over("gateway-2", "gateway-1", numbers)),
                three.write(lambda: rows.take_over("gateway-3", "gateway-1", numbers)),
            )
        assert [entry.command_id for records in claimed for entry in records] == [id_of(unsent)]


class TestPruning:
    async def test_old_settled_rows_go_and_all_others_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rows, "CHUNK", 2)
        async with open_journal() as journal:
            old, young, parked = updates("c1", 5), updates("c2", 1), updates("c3", 1)
            await journal.accept([*old, *young, *parked])
            journal.settle([notice(id_of(command)) for command in [*old, *young]])
            for command in [*old, *young]:
                await until_recorded(id_of(command))
            long_ago = datetime.now(UTC) - timedelta(days=31)
            ids = [id_of(command) for command in old]
            await sync_to_async(Row.objects.filter(command_id__in=ids).update)(settled_at=long_ago)
            assert await journal.prune(datetime.now(UTC) - timedelta(days=30)) == 5
        assert [found.aggregate_id for found in await rows_in_order()] == ["c2", "c3"]

    def test_the_command_prunes_by_age(self, capsys: pytest.CaptureFixture[str]) -> None:
        now = datetime.now(UTC)
        for number, days in enumerate((40, 20, 0)):
            settled = now - timedelta(days=days)
            Row.objects.create(command_id=f"k{number}", accepted_at=now, takes_effect_at=now, settled_at=settled)
        call_command("prunecommands")
        assert capsys.readouterr().out == "pruned 1 commands\n"
        call_command("prunecommands", "--days", "10")
        assert capsys.readouterr().out == "pruned 1 commands\n"
        assert [found.command_id for found in Row.objects.all()] == ["k2"]


def test_the_last_unsettled_command_is_right_in_whatever_order_they_end() -> None:
    import random

    chance = random.Random(7)
    for _ in range(300):
        unsettled, model = Unsettled(), list[str]()
        for step in range(12):
            if model and chance.random() < 0.45:
                gone = model.pop(chance.randrange(len(model)))
                assert unsettled.remove(gone) is not None
            else:
                model.append(f"k{step}")
                unsettled.add([(f"k{step}", ("contact", "c1"))], float(step))
            assert unsettled.last("contact", "c1") == (model[-1] if model else "")
            assert sorted(unsettled.ids()) == sorted(model)
        for left in model:
            unsettled.remove(left)
        assert unsettled._before == unsettled._after == unsettled._last == unsettled._known == {}
