"""Rules on the effects: what the database did with the commands, by its notices and what it holds at the end."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.case import Case, Violation, broken, describe_contact
from chaos.history import Command


def accepted_has_one_outcome(case: Case) -> Iterator[Violation]:
    for command in case.commands.values():
        finals = case.finals.get(command.command_id, [])
        kinds = ", ".join(notice.kind for notice in finals)
        if len(finals) > 1:
            yield broken(command, "twice", f"has {len(finals)} outcomes ({kinds}); one is right")
        elif command.verdict == "accepted" and not finals:
            yield broken(command, "lost", "was accepted and has no outcome")
        elif command.verdict == "refused" and finals:
            codes = ", ".join(sorted({attempt.code for attempt in command.attempts if attempt.code}))
            yield broken(command, "refused", f"was refused ({codes}) and still has an outcome ({kinds})")


def every_outcome_was_requested(case: Case) -> Iterator[Violation]:
    """An outcome of an unknown command must be of one whose answer was lost: by its name, or as one more delete."""
    open_names = {command.name for command in case.anonymous if command.name and command.verdict == "unknown"}
    # Per contact: updates and deletes whose answers were lost. A rejection does not tell which it is of.
    open_commands = Counter(c.contact_id for c in case.anonymous if c.kind != "ADD" and c.verdict == "unknown")
    open_deletes = Counter(c.contact_id for c in case.anonymous if c.kind == "DELETE" and c.verdict == "unknown")
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


def effects_are_as_sent(case: Case) -> Iterator[Violation]:
    kind_of = {"ADDED": "ADD", "UPDATED": "UPDATE", "DELETED": "DELETE"}
    for command_id, finals in case.finals.items():
        command, notice = case.commands.get(command_id), finals[0]
        if command is None:
            continue
        if command.contact_id and notice.contact_id != command.contact_id:
            yield broken(command, "effect", f"is on contact {command.contact_id}, its notice on {notice.contact_id}")
        kind = kind_of.get(notice.kind)
        if kind is not None and kind != command.kind:
            yield broken(command, "effect", f"is {command.kind}, its notice {notice.kind}")
        elif kind in ("ADD", "UPDATE") and notice.name != command.name:
            yield broken(command, "effect", f"names {command.name!r}, its notice {notice.name!r}")


def outcomes_are_in_order_of_acceptance(case: Case) -> Iterator[Violation]:
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
                yield broken(
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
                yield broken(
                    before, "order", f"took effect before {command.command_id}, which stood before it in one document"
                )
            last[command.document] = command


def each_notice_follows_from_those_before(case: Case) -> Iterator[Violation]:
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

    yield from _contacts_are_where_notices_lead(case, stored)


def _contacts_are_where_notices_lead(case: Case, stored: dict[str, tuple[str, int]]) -> Iterator[Violation]:
    answered = {contact.contact_id: (contact.name, contact.version) for contact in case.history.stored}
    for contact_id in sorted(stored.keys() | answered.keys()):
        if stored.get(contact_id) != answered.get(contact_id):
            sentence = (
                f"contact {contact_id} is {describe_contact(answered.get(contact_id))},"
                f" its notices lead to {describe_contact(stored.get(contact_id))}"
            )
            yield Violation("state", sentence, contact_id=contact_id)
    for listed in case.history.listed:
        if stored.get(listed.contact_id) != (listed.name, listed.version):
            sentence = (
                f"listContacts has {listed}, its notices lead to {describe_contact(stored.get(listed.contact_id))}"
            )
            yield Violation("state", sentence, contact_id=listed.contact_id)
    if len(case.history.listed) < min(len(stored), 1000):
        yield Violation("state", f"listContacts has {len(case.history.listed)} contacts, there are {len(stored)}")
