"""The judge is judged: a good history passes, and each way of breaking a promise is seen."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.checker import check
from chaos.history import Attempt, Command, History, Notice, Read, Sample, Stored, Watcher

ANN, BOB = "contact-ann", "contact-bob"


def queued(command_id: str, contact_id: str, sent_at: float) -> Attempt:
    return Attempt("gateway-1", sent_at, sent_at + 0.1, answer="queued", command_id=command_id, contact_id=contact_id)


def good_history() -> History:
    """Two contacts; an update in two sendings, one that expects a stale version, a cancel, and lost answers."""
    commands = [
        Command(0, "ADD", ANN, "a0", "add-ann", True, attempts=[queued("add-ann", ANN, 1.0)]),
        Command(
            1, "UPDATE", ANN, "a1", "update-1", True, attempts=[Attempt("gateway-1", 2.0), queued("update-1", ANN, 3.0)]
        ),
        Command(2, "UPDATE", ANN, "a2", "stale", False, expected_version=1, attempts=[queued("stale", ANN, 4.0)]),
        Command(3, "UPDATE", ANN, "a3", "cancelled", False, attempts=[queued("cancelled", ANN, 5.0)]),
        Command(4, "ADD", BOB, "b0", "add-bob", True, document=7, index=0, attempts=[queued("add-bob", BOB, 6.0)]),
        Command(
            5, "UPDATE", BOB, "b1", "update-bob", True, document=7, index=1, attempts=[queued("update-bob", BOB, 6.0)]
        ),
        # Answers that never came: one of these was accepted, one was not.
        Command(6, "UPDATE", ANN, "a4", "", False, attempts=[Attempt("gateway-2", 7.0)]),
        Command(7, "UPDATE", ANN, "a5", "", False, attempts=[Attempt("gateway-2", 7.0)]),
        Command(8, "DELETE", BOB, "", "delete-bob", True, attempts=[queued("delete-bob", BOB, 8.0)]),
        Command(9, "UPDATE", BOB, "b2", "too-late", True, attempts=[queued("too-late", BOB, 9.0)]),
        Command(
            10,
            "UPDATE",
            "nobody",
            "n",
            "refused",
            True,
            attempts=[Attempt("gateway-1", 9.0, 9.1, "refused", "NOT_FOUND")],
        ),
    ]
    commands[3].cancels.append(Attempt("gateway-2", 5.1, 5.2, answer="queued"))
    notices = [
        Notice("1:x", "ADDED", "add-ann", ANN, "a0", 1, ""),
        Notice("2:x", "CANCELLED", "cancelled", ANN, "", 0, ""),
        Notice("3:x", "UPDATED", "update-1", ANN, "a1", 2, ""),
        Notice("4:x", "REJECTED", "stale", ANN, "a1", 2, "CONFLICT"),
        Notice("5:x", "ADDED", "add-bob", BOB, "b0", 1, ""),
        Notice("6:x", "UPDATED", "update-bob", BOB, "b1", 2, ""),
        Notice("7:x", "UPDATED", "minted", ANN, "a4", 3, ""),
        Notice("8:x", "DELETED", "delete-bob", BOB, "b1", 2, ""),
        Notice("9:x", "REJECTED", "too-late", BOB, "", 0, "NOT_FOUND"),
    ]
    settled = {"ADDED": "APPLIED", "UPDATED": "APPLIED", "DELETED": "APPLIED"}
    outcomes = [
        Sample(
            notice.command_id, "gateway-1#1", 30.0, 30.1, settled.get(notice.kind, notice.kind), notice.version or None
        )
        for notice in notices
        if notice.command_id != "minted"
    ]
    outcomes.append(Sample("refused", "gateway-1#1", 30.0, 30.1, ""))
    return History(
        seed=1,
        commands=commands,
        watchers=[
            Watcher("all", seen=list(notices)),
            Watcher("bob", contact_id=BOB, seen=[notice for notice in notices if notice.contact_id == BOB]),
        ],
        samples=[
            Sample("update-1", "gateway-1#1", 3.2, 3.3, "QUEUED"),
            Sample("update-1", "gateway-1#1", 5.0, 5.1, "APPLIED", 2),
            # Another process may not have heard of it yet.
            Sample("update-1", "gateway-2#1", 5.2, 5.3, "QUEUED"),
        ],
        reads=[
            Read(ANN, "add-ann", "gateway-1", 1.2, 2),
            Read(ANN, "update-1", "gateway-2", 3.2, 2),
            Read(BOB, "delete-bob", "gateway-2", 8.2, 0),
        ],
        notices=list(enumerate(notices, start=1)),
        outcomes=outcomes,
        stored=[Stored(ANN, "a4", 3)],
        listed=[Stored(ANN, "a4", 3)],
    )


def test_a_good_history_passes() -> None:
    assert check(good_history()) == []


def drop_notice(number: int) -> Callable[[History], None]:
    """Nobody ever saw it, and the numbers close over it: only the promise about its command is broken."""

    def change(history: History) -> None:
        (notice,) = [notice for n, notice in history.notices if n == number]
        kept = [notice for n, notice in history.notices if n != number]
        history.notices = list(enumerate(kept, start=1))
        for watcher in history.watchers:
            watcher.seen = [seen for seen in watcher.seen if seen != notice]

    return change


def swap_notices(one: int, other: int) -> Callable[[History], None]:
    def change(history: History) -> None:
        notices = [notice for _, notice in history.notices]
        notices[one - 1], notices[other - 1] = notices[other - 1], notices[one - 1]
        history.notices = list(enumerate(notices, start=1))
        for watcher in history.watchers:
            watcher.seen = [n for n in notices if watcher.contact_id in ("", n.contact_id)]

    return change


def change_notice(number: int, **fields: object) -> Callable[[History], None]:
    def change(history: History) -> None:
        (old,) = [notice for n, notice in history.notices if n == number]
        new = replace(old, **fields)  # type: ignore[arg-type]
        history.notices = [(n, new if n == number else notice) for n, notice in history.notices]
        for watcher in history.watchers:
            watcher.seen = [new if seen == old else seen for seen in watcher.seen]

    return change


def append_notice(notice: Notice) -> Callable[[History], None]:
    def change(history: History) -> None:
        history.notices.append((len(history.notices) + 1, notice))
        for watcher in history.watchers:
            if watcher.contact_id in ("", notice.contact_id):
                watcher.seen.append(notice)

    return change


def renumber(history: History) -> None:
    history.notices[-1] = (10, history.notices[-1][1])


def repeat_for_a_watcher(history: History) -> None:
    history.watchers[0].seen.insert(3, history.watchers[0].seen[2])


def miss_for_a_watcher(history: History) -> None:
    del history.watchers[1].seen[1]


def miss_the_last_for_a_watcher(history: History) -> None:
    history.watchers[0].seen.pop()


def show_another_to_a_watcher(history: History) -> None:
    history.watchers[0].seen[4] = replace(history.watchers[0].seen[4], name="other")


def refuse_a_watcher(history: History) -> None:
    history.watchers[0].refusals.append("position 3:x is of another history")


def refuse_cancels(history: History) -> None:
    history.commands[3].cancels[0].answer = "refused"


def find_nothing_to_cancel(history: History) -> None:
    history.commands[3].cancels.append(Attempt("gateway-1", 5.3, 5.4, "refused", "NOT_FOUND"))


def store(*contacts: Stored) -> Callable[[History], None]:
    def change(history: History) -> None:
        history.stored = list(contacts)

    return change


def list_nothing(history: History) -> None:
    history.listed = []


def list_an_old_version(history: History) -> None:
    history.listed = [Stored(ANN, "a1", 2)]


def answer_a_key_differently(history: History) -> None:
    history.commands[0].attempts.append(queued("add-ann", "another-contact", 2.0))


def refuse_a_key_that_was_accepted(history: History) -> None:
    history.commands[0].attempts.append(Attempt("gateway-2", 2.0, 2.1, "refused", "KEY_CONFLICT", "other arguments"))


def relapse(history: History) -> None:
    history.samples.append(Sample("update-1", "gateway-1#1", 5.2, 5.3, "QUEUED"))


def forget(history: History) -> None:
    history.samples.append(Sample("update-1", "gateway-2#2", 3.2, 3.3, ""))


def forget_at_the_end(history: History) -> None:
    history.outcomes[0].state = ""


def stay_queued(history: History) -> None:
    history.outcomes[1].state = "QUEUED"


def end_otherwise(history: History) -> None:
    history.outcomes[0].state = "CANCELLED"


def say_another_version(history: History) -> None:
    history.outcomes[2].version = 7


def settle_without_a_notice(history: History) -> None:
    drop_notice(9)(history)


def apply_the_later_of_a_document_first(history: History) -> None:
    # Both are rejected, so that no version tells.
    for index in (4, 5):
        history.commands[index].kind = "UPDATE"
    history.notices = [
        (1, Notice("1:x", "REJECTED", "update-bob", BOB, "", 0, "NOT_FOUND")),
        (2, Notice("2:x", "REJECTED", "add-bob", BOB, "", 0, "NOT_FOUND")),
    ]


def read_too_early(history: History) -> None:
    history.reads.append(Read(ANN, "update-1", "gateway-2", 3.2, 1))


def read_what_was_deleted(history: History) -> None:
    history.reads.append(Read(BOB, "delete-bob", "gateway-2", 8.2, 2))


def miss_what_was_added(history: History) -> None:
    history.reads.append(Read(ANN, "add-ann", "gateway-2", 1.2, 0))


def overrun(history: History) -> None:
    history.overruns.append("not all settled 10 s after healing")


BROKEN: list[tuple[str, Callable[[History], None]]] = [
    ("lost", drop_notice(9)),
    ("twice", append_notice(Notice("10:x", "UPDATED", "update-1", ANN, "a1", 4, ""))),
    ("twice", append_notice(Notice("10:x", "UPDATED", "minted-again", ANN, "a4", 4, ""))),
    ("twice", append_notice(Notice("10:x", "CANCELLED", "update-1", ANN, "", 0, ""))),
    ("refused", append_notice(Notice("10:x", "REJECTED", "refused", "nobody", "", 0, "NOT_FOUND"))),
    ("uninvited", append_notice(Notice("10:x", "UPDATED", "stranger", ANN, "stranger", 4, ""))),
    ("uninvited", append_notice(Notice("10:x", "DELETED", "stranger", ANN, "a4", 3, ""))),
    ("uninvited", append_notice(Notice("10:x", "CANCELLED", "stranger", ANN, "", 0, ""))),
    ("uninvited", append_notice(Notice("10:x", "REJECTED", "stranger", BOB, "", 0, "NOT_FOUND"))),
    ("effect", change_notice(3, name="a0")),
    ("effect", change_notice(3, contact_id=BOB)),
    ("effect", change_notice(3, kind="DELETED")),
    ("order", swap_notices(3, 4)),
    ("order", apply_the_later_of_a_document_first),
    ("version", change_notice(3, version=3)),
    ("version", change_notice(7, version=2)),
    ("version", change_notice(1, version=2)),
    ("version", change_notice(8, version=3)),
    ("version", change_notice(4, kind="UPDATED", name="a2", version=3, reason="")),
    ("version", change_notice(4, reason="NOT_FOUND")),
    ("version", change_notice(4, reason="INVALID")),
    ("version", change_notice(9, reason="CONFLICT")),
    ("parked", append_notice(Notice("10:x", "PARKED", "update-1", ANN, "", 0, ""))),
    ("state", store()),
    ("state", store(Stored(ANN, "a4", 3), Stored(BOB, "b1", 2))),
    ("state", store(Stored(ANN, "a5", 3))),
    ("state", store(Stored(ANN, "a4", 4))),
    ("state", list_nothing),
    ("state", list_an_old_version),
    ("cancel", refuse_cancels),
    ("forgotten", find_nothing_to_cancel),
    ("answer", answer_a_key_differently),
    ("answer", refuse_a_key_that_was_accepted),
    ("gap", renumber),
    ("watcher", repeat_for_a_watcher),
    ("watcher", miss_for_a_watcher),
    ("watcher", miss_the_last_for_a_watcher),
    ("watcher", show_another_to_a_watcher),
    ("watcher", refuse_a_watcher),
    ("outcome", end_otherwise),
    ("outcome", say_another_version),
    ("outcome", settle_without_a_notice),
    ("unsettled", stay_queued),
    ("relapse", relapse),
    ("forgotten", forget),
    ("forgotten", forget_at_the_end),
    ("read", read_too_early),
    ("read", read_what_was_deleted),
    ("read", miss_what_was_added),
    ("overrun", overrun),
]


@pytest.mark.parametrize(
    ("rule", "change"), BROKEN, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_each_broken_promise_is_seen(rule: str, change: Callable[[History], None]) -> None:
    history = good_history()
    change(history)
    assert rule in {violation.rule for violation in check(history)}


def test_a_violation_names_the_command_and_the_contact() -> None:
    history = good_history()
    drop_notice(3)(history)
    (lost,) = [violation for violation in check(history) if violation.rule == "lost"]
    assert (lost.command_id, lost.contact_id) == ("update-1", ANN)
    assert "update-1" in lost.sentence


def test_what_was_sent_before_the_other_was_answered_may_take_effect_in_any_order() -> None:
    history = good_history()
    history.commands[1].attempts = [queued("update-1", ANN, 4.0)]
    history.commands[2].attempts = [queued("stale", ANN, 4.05)]
    swap_notices(3, 4)(history)
    change_notice(3, version=1)(history)
    assert "order" not in {violation.rule for violation in check(history)}


def test_a_lost_delete_may_have_taken_effect_once() -> None:
    history = good_history()
    anonymous = Command(11, "DELETE", ANN, "", "", False, attempts=[Attempt("gateway-1", 9.0)])
    history.commands.append(anonymous)
    once = copy.deepcopy(history)
    append_notice(Notice("10:x", "DELETED", "minted-2", ANN, "a4", 3, ""))(once)
    once.stored, once.listed = [], []
    assert check(once) == []
    twice = copy.deepcopy(once)
    append_notice(Notice("11:x", "DELETED", "minted-3", ANN, "a4", 3, ""))(twice)
    assert "uninvited" in {violation.rule for violation in check(twice)}
