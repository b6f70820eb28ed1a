"""Judges a history. Knows nothing of how the system works inside: only what it promises.

Sound: a correct system is never accused, whatever the faults were. So an answer that was lost leaves both open, two
commands are in order only if the answer to one came before the other was sent (or both stood in one document), and what
a gateway said binds only the same process of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaos.history import FINAL_STATES, STATE_OF_KIND, Command, History, Notice, Sample


class Violation(NamedTuple):
    """A promise that was not kept, and whose records show it."""

    rule: str
    sentence: str
    command_id: str = ""
    contact_id: str = ""


def check(history: History) -> list[Violation]:
    """All violations; empty: every promise was kept."""
    case = _Case(history)
    return [violation for rule in _RULES for violation in rule(case)]


class _Case:
    """The history, indexed."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.notices = [notice for _, notice in history.notices]
        self.finals: dict[str, list[Notice]] = defaultdict(list)
        # Where in the database's list the (first) final notice of a command stands.
        self.place: dict[str, int] = {}
        for place, notice in enumerate(self.notices):
            if notice.kind in STATE_OF_KIND:
                self.finals[notice.command_id].append(notice)
                self.place.setdefault(notice.command_id, place)
        self.commands = {command.command_id: command for command in history.commands if command.command_id}
        self.anonymous = [command for command in history.commands if not command.command_id]


def _accepted_has_one_outcome(case: _Case) -> Iterator[Violation]:
    for command in case.commands.values():
        finals = case.finals.get(command.command_id, [])
        kinds = ", ".join(notice.kind for notice in finals)
        if len(finals) > 1:
            yield _of(command, "twice", f"has {len(finals)} outcomes ({kinds}); one is right")
        elif command.fate == "accepted" and not finals:
            yield _of(command, "lost", "was accepted and has no outcome")
        elif command.fate == "refused" and finals:
            codes = ", ".join(sorted({attempt.code for attempt in command.attempts if attempt.code}))
            yield _of(command, "refused", f"was refused ({codes}) and still has an outcome ({kinds})")


def _every_notice_was_asked_for(case: _Case) -> Iterator[Violation]:
    """An outcome of an unknown command must be of one whose answer was lost: by its name, or as one more delete."""
    open_names = {command.name for command in case.anonymous if command.name and command.fate == "unknown"}
    # Per contact: updates and deletes whose answers were lost. A rejection does not tell which it is of.
    open_commands = Counter(c.contact_id for c in case.anonymous if c.kind != "ADD" and c.fate == "unknown")
    open_deletes = Counter(c.contact_id for c in case.anonymous if c.kind == "DELETE" and c.fate == "unknown")
    took: dict[str, str] = {}
    for command_id, finals in case.finals.items():
        if command_id in case.commands:
            continue
        notice = finals[0]
        what = f"{notice.kind} of {notice.contact_id} {notice.name!r} by command {command_id}"
        asked = False
        if len(finals) > 1:
            yield Violation("twice", f"command {command_id} has {len(finals)} outcomes", command_id, notice.contact_id)
        elif notice.name in took and notice.kind in ("ADDED", "UPDATED"):
            sentence = f"{what}: it was sent once, and took effect by command {took[notice.name]} already"
            yield Violation("twice", sentence, command_id, notice.contact_id)
            continue
        if notice.kind in ("ADDED", "UPDATED"):
            asked = notice.name in open_names
            took[notice.name] = command_id
        if notice.kind == "DELETED":
            open_deletes[notice.contact_id] -= 1
            asked = open_deletes[notice.contact_id] >= 0
        if notice.kind in ("UPDATED", "DELETED", "REJECTED"):
            open_commands[notice.contact_id] -= 1
            asked = (asked or notice.kind == "REJECTED") and open_commands[notice.contact_id] >= 0
        if not asked:
            yield Violation("uninvited", f"{what}: nobody sent that", command_id, notice.contact_id)


def _effects_are_as_sent(case: _Case) -> Iterator[Violation]:
    kind_of = {"ADDED": "ADD", "UPDATED": "UPDATE", "DELETED": "DELETE"}
    for command_id, finals in case.finals.items():
        command, notice = case.commands.get(command_id), finals[0]
        if command is None:
            continue
        if command.contact_id and notice.contact_id != command.contact_id:
            yield _of(command, "effect", f"is on contact {command.contact_id}, its notice on {notice.contact_id}")
        kind = kind_of.get(notice.kind)
        if kind is not None and kind != command.kind:
            yield _of(command, "effect", f"is {command.kind}, its notice {notice.kind}")
        elif kind in ("ADD", "UPDATE") and notice.name != command.name:
            yield _of(command, "effect", f"names {command.name!r}, its notice {notice.name!r}")


def _outcomes_are_in_order_of_acceptance(case: _Case) -> Iterator[Violation]:
    by_contact: dict[str, list[Command]] = defaultdict(list)
    for command_id, place in case.place.items():
        command = case.commands.get(command_id)
        # A cancelled command waits for none before it.
        if command is not None and case.notices[place].kind != "CANCELLED":
            by_contact[command.contact_id].append(command)
    for commands in by_contact.values():
        commands.sort(key=lambda command: case.place[command.command_id])
        # From the last on: the earliest acceptance among those that took effect later.
        earliest: Command | None = None
        for command in reversed(commands):
            if earliest is not None and earliest.accepted_by <= command.sent_at:
                yield _of(
                    command,
                    "order",
                    f"took effect before {earliest.command_id}, whose acceptance was answered at "
                    f"{earliest.accepted_by:.3f}, before it was sent at {command.sent_at:.3f}",
                )
            if earliest is None or command.accepted_by < earliest.accepted_by:
                earliest = command
        last: dict[int, Command] = {}
        for command in commands:
            before = last.get(command.document)
            if before is not None and before.index > command.index:
                yield _of(
                    before, "order", f"took effect before {command.command_id}, which stood before it in one document"
                )
            last[command.document] = command


def _each_notice_follows_from_those_before(case: _Case) -> Iterator[Violation]:
    """Plays the notices of each contact; then what is stored must be what they led to."""
    stored: dict[str, tuple[str, int]] = {}
    for notice in case.notices:
        now = stored.get(notice.contact_id)
        command = case.commands.get(notice.command_id)
        expected = command.expected_version if command is not None else None
        is_at = f"the contact was at version {now[1]}" if now else "there was no such contact"
        wrong = ""
        if notice.kind == "ADDED":
            wrong = is_at if now else "" if notice.version == 1 else f"version 1 is right, not {notice.version}"
            stored[notice.contact_id] = (notice.name, notice.version)
        elif notice.kind == "UPDATED":
            wrong = "" if now and notice.version == now[1] + 1 else f"{is_at}, its notice says {notice.version}"
            stored[notice.contact_id] = (notice.name, notice.version)
        elif notice.kind == "DELETED":
            wrong = "" if now == (notice.name, notice.version) else f"{is_at}, its notice says {notice.version}"
            stored.pop(notice.contact_id, None)
        elif notice.kind == "REJECTED" and notice.reason == "NOT_FOUND":
            wrong = is_at if now else ""
        elif notice.kind == "REJECTED" and notice.reason == "CONFLICT":
            if command is None:  # of a lost answer: what it expected is unknown
                continue
            wrong = "" if now and expected not in (None, now[1]) else f"{is_at} and it expected {expected}"
        elif notice.kind == "REJECTED":
            wrong = f"nothing that was sent is {notice.reason or 'without a reason'}"
        elif notice.kind == "PARKED":
            wrong = "nothing that was sent is defective"
        if not wrong and notice.kind in ("UPDATED", "DELETED") and expected is not None and now and now[1] != expected:
            wrong = f"{is_at} and it expected {expected}"
        if wrong:
            sentence = f"{notice.kind} of {notice.contact_id} by command {notice.command_id}: {wrong}"
            rule = "parked" if notice.kind == "PARKED" else "version"
            yield Violation(rule, sentence, notice.command_id, notice.contact_id)

    answered = {contact.contact_id: (contact.name, contact.version) for contact in case.history.stored}
    for contact_id in sorted(stored.keys() | answered.keys()):
        if stored.get(contact_id) != answered.get(contact_id):
            sentence = (
                f"contact {contact_id} is {_contact(answered.get(contact_id))},"
                f" its notices lead to {_contact(stored.get(contact_id))}"
            )
            yield Violation("state", sentence, contact_id=contact_id)
    for listed in case.history.listed:
        if stored.get(listed.contact_id) != (listed.name, listed.version):
            sentence = f"listContacts has {listed}, its notices lead to {_contact(stored.get(listed.contact_id))}"
            yield Violation("state", sentence, contact_id=listed.contact_id)
    if len(case.history.listed) < min(len(stored), 1000):
        yield Violation("state", f"listContacts has {len(case.history.listed)} contacts, there are {len(stored)}")


def _reads_saw_what_they_waited_for(case: _Case) -> Iterator[Violation]:
    """After a command a contact is as its outcome left it, or as a later one did."""
    changes: dict[str, list[tuple[int, int]]] = defaultdict(
        list
    )  # by contact: place of the notice, version from there on
    for place, notice in enumerate(case.notices):
        if notice.kind in ("ADDED", "UPDATED", "DELETED"):
            changes[notice.contact_id].append((place, 0 if notice.kind == "DELETED" else notice.version))
    for read in case.history.reads:
        command, settled = case.commands.get(read.after_command), case.place.get(read.after_command)
        if command is None or settled is None:
            continue
        at_first, allowed = 0, set()
        for place, version in changes[read.contact_id]:
            if place <= settled:
                at_first = version
            else:
                allowed.add(version)
        if read.version not in allowed | {at_first}:
            yield _of(
                command,
                "read",
                f"left the contact at version {at_first}; {read.gateway}, asked at {read.sent_at:.3f} to wait for it, "
                f"showed {read.version}",
            )


def _cancelled_was_cancelled(case: _Case) -> Iterator[Violation]:
    for command in case.commands.values():
        kinds = {notice.kind for notice in case.finals.get(command.command_id, [])}
        if "CANCELLED" in kinds and not any(cancel.answer in ("queued", "lost") for cancel in command.cancels):
            yield _of(command, "cancel", "was cancelled, and no cancel of it was accepted")
        for cancel in command.cancels:
            if cancel.code == "NOT_FOUND" and command.accepted_by <= cancel.sent_at:
                yield _of(command, "forgotten", f"had been accepted, and {cancel.gateway} found nothing to cancel")


def _the_same_key_gets_the_same_answer(case: _Case) -> Iterator[Violation]:
    for command in case.commands.values():
        answers = {(a.command_id, a.contact_id) for a in command.attempts if a.answer == "queued"}
        if len(answers) > 1 or (command.own_id and answers and {key for key, _ in answers} != {command.command_id}):
            yield _of(command, "answer", f"was answered in several ways: {sorted(answers)}")
        # Once it was accepted, the same key and arguments are accepted for good.
        for attempt in command.attempts:
            if attempt.answer == "refused" and command.accepted_by <= attempt.sent_at:
                yield _of(command, "answer", f"had been accepted, sent again it was refused: {attempt.message}")


def _numbers_have_no_gap(case: _Case) -> Iterator[Violation]:
    for right, (number, notice) in enumerate(case.history.notices, start=1):
        if number != right:
            yield Violation("gap", f"notice {right} has the number {number}", notice.command_id, notice.contact_id)
            return


def _watchers_saw_everything_once_and_in_order(case: _Case) -> Iterator[Violation]:
    for watcher in case.history.watchers:
        for refusal in watcher.refusals:
            yield Violation("watcher", f"{watcher.name} was refused: {refusal}")
        right = [notice for notice in case.notices if watcher.contact_id in ("", notice.contact_id)]
        if watcher.seen == right:
            continue
        for place, notice in enumerate(right):
            seen = watcher.seen[place] if place < len(watcher.seen) else None
            if seen != notice:
                sentence = f"{watcher.name} saw as its notice {place + 1} {seen}, right is {notice}"
                yield Violation("watcher", sentence, notice.command_id, notice.contact_id)
                break
        else:
            sentence = f"{watcher.name} saw {len(watcher.seen)} notices, there are {len(right)}"
            yield Violation("watcher", sentence, watcher.seen[len(right)].command_id)


def _command_says_what_the_notice_says(case: _Case) -> Iterator[Violation]:
    for sample in case.history.outcomes:
        command = case.commands.get(sample.command_id)
        accepted = command is not None and command.fate == "accepted"
        where = Violation("outcome", "", sample.command_id, command.contact_id if command is not None else "")
        finals = case.finals.get(sample.command_id)
        if not sample.state:
            if accepted or finals:
                yield where._replace(rule="forgotten", sentence=f"{_said(sample)}, though it was accepted")
        elif sample.state not in FINAL_STATES:
            yield where._replace(rule="unsettled", sentence=f"{_said(sample)} at the end")
        elif not finals or STATE_OF_KIND[finals[0].kind] != sample.state:
            kinds = ", ".join(notice.kind for notice in finals or ()) or "none"
            yield where._replace(sentence=f"{_said(sample)}, its notices: {kinds}")
        elif finals[0].kind in ("ADDED", "UPDATED") and sample.version != finals[0].version:
            yield where._replace(
                sentence=f"{_said(sample)} with version {sample.version}, its notice {finals[0].version}"
            )


def _settled_stays_settled(case: _Case) -> Iterator[Violation]:
    by_command: dict[str, list[Sample]] = defaultdict(list)
    for sample in (*case.history.samples, *case.history.outcomes):
        by_command[sample.command_id].append(sample)
    for command_id, samples in by_command.items():
        command = case.commands.get(command_id)
        if command is None:
            continue
        finals = case.finals.get(command_id, ())
        samples.sort(key=lambda sample: sample.sent_at)
        for sample in samples:
            if not sample.state and command.accepted_by <= sample.sent_at:
                yield _of(command, "forgotten", f"had been accepted, and {_said(sample)}")
            if sample.state in FINAL_STATES and finals and sample.state != STATE_OF_KIND[finals[0].kind]:
                yield _of(command, "outcome", f"ended {finals[0].kind}, and {_said(sample)}")
        yield from _relapses(command, samples)


def _relapses(command: Command, samples: Iterable[Sample]) -> Iterator[Violation]:
    settled: dict[str, Sample] = {}  # by process: the settled answer that came first
    for sample in samples:
        before = settled.get(sample.process)
        if sample.state in FINAL_STATES:
            if before is None or sample.answered_at < before.answered_at:
                settled[sample.process] = sample
        elif before is not None and before.answered_at <= sample.sent_at:
            yield _of(command, "relapse", f"was {before.state} at {before.answered_at:.3f}, then {_said(sample)}")


def _nothing_overran(case: _Case) -> Iterator[Violation]:
    for sentence in case.history.overruns:
        yield Violation("overrun", sentence)


_RULES = (
    _accepted_has_one_outcome,
    _every_notice_was_asked_for,
    _effects_are_as_sent,
    _outcomes_are_in_order_of_acceptance,
    _each_notice_follows_from_those_before,
    _reads_saw_what_they_waited_for,
    _cancelled_was_cancelled,
    _the_same_key_gets_the_same_answer,
    _numbers_have_no_gap,
    _watchers_saw_everything_once_and_in_order,
    _command_says_what_the_notice_says,
    _settled_stays_settled,
    _nothing_overran,
)


def _of(command: Command, rule: str, sentence: str) -> Violation:
    who = f"command {command.command_id} ({command.kind} of {command.contact_id or '?'})"
    return Violation(rule, f"{who} {sentence}", command.command_id, command.contact_id)


def _said(sample: Sample) -> str:
    return f"{sample.process} said {sample.state or 'that there is none'} at {sample.answered_at:.3f}"


def _contact(stored: tuple[str, int] | None) -> str:
    return "not there" if stored is None else f"{stored[0]!r} at version {stored[1]}"
