"""Rules on the answers: what gateways, readers and watchers said of commands, beside the notices."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from chaos.case import Case, Violation, broken, describe
from chaos.history import FINAL_STATES, STATE_OF_KIND, Command, Sample


def reads_saw_what_they_waited_for(case: Case) -> Iterator[Violation]:
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
            yield broken(
                command,
                "read",
                f"left the contact at version {at_first}; {read.gateway}, asked at {read.sent_at:.3f} to wait for it, "
                f"showed {read.version}",
            )


def cancelled_was_cancelled(case: Case) -> Iterator[Violation]:
    for command in case.commands.values():
        kinds = {notice.kind for notice in case.finals.get(command.command_id, [])}
        if "CANCELLED" in kinds and not any(cancel.answer in ("queued", "lost") for cancel in command.cancels):
            yield broken(command, "cancel", "was cancelled, and no cancel of it was accepted")
        for cancel in command.cancels:
            if cancel.code == "NOT_FOUND" and command.accepted_by <= cancel.sent_at:
                yield broken(command, "forgotten", f"had been accepted, and {cancel.gateway} found nothing to cancel")


def the_same_key_gets_the_same_answer(case: Case) -> Iterator[Violation]:
    for command in case.commands.values():
        answers = {(a.command_id, a.contact_id) for a in command.attempts if a.answer == "queued"}
        if len(answers) > 1 or (command.own_id and answers and {key for key, _ in answers} != {command.command_id}):
            yield broken(command, "answer", f"was answered in several ways: {sorted(answers)}")
        # Once it was accepted, the same key and arguments are accepted for good.
        for attempt in command.attempts:
            if attempt.answer == "refused" and command.accepted_by <= attempt.sent_at:
                yield broken(command, "answer", f"had been accepted, sent again it was refused: {attempt.message}")


def numbers_have_no_gap(case: Case) -> Iterator[Violation]:
    for right, (number, notice) in enumerate(case.history.notices, start=1):
        if number != right:
            yield Violation("gap", f"notice {right} has the number {number}", notice.command_id, notice.contact_id)
            return


def watchers_saw_everything_once_and_in_order(case: Case) -> Iterator[Violation]:
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


def command_says_what_the_notice_says(case: Case) -> Iterator[Violation]:
    for sample in case.history.outcomes:
        command = case.commands.get(sample.command_id)
        accepted = command is not None and command.verdict == "accepted"
        where = Violation("outcome", "", sample.command_id, command.contact_id if command is not None else "")
        finals = case.finals.get(sample.command_id)
        if not sample.state:
            if accepted or finals:
                yield where._replace(rule="forgotten", sentence=f"{describe(sample)}, though it was accepted")
        elif sample.state not in FINAL_STATES:
            yield where._replace(rule="unsettled", sentence=f"{describe(sample)} at the end")
        elif not finals or STATE_OF_KIND[finals[0].kind] != sample.state:
            kinds = ", ".join(notice.kind for notice in finals or ()) or "none"
            yield where._replace(sentence=f"{describe(sample)}, its notices: {kinds}")
        elif finals[0].kind in ("ADDED", "UPDATED") and sample.version != finals[0].version:
            yield where._replace(
                sentence=f"{describe(sample)} with version {sample.version}, its notice {finals[0].version}"
            )


def settled_stays_settled(case: Case) -> Iterator[Violation]:
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
                yield broken(command, "forgotten", f"had been accepted, and {describe(sample)}")
            if sample.state in FINAL_STATES and finals and sample.state != STATE_OF_KIND[finals[0].kind]:
                yield broken(command, "outcome", f"ended {finals[0].kind}, and {describe(sample)}")
        yield from _relapses(command, samples)


def _relapses(command: Command, samples: Iterable[Sample]) -> Iterator[Violation]:
    settled: dict[str, Sample] = {}  # by process: the settled answer that came first
    for sample in samples:
        before = settled.get(sample.process)
        if sample.state in FINAL_STATES:
            if before is None or sample.answered_at < before.answered_at:
                settled[sample.process] = sample
        elif before is not None and before.answered_at <= sample.sent_at:
            yield broken(command, "relapse", f"was {before.state} at {before.answered_at:.3f}, then {describe(sample)}")


def nothing_overran(case: Case) -> Iterator[Violation]:
    for sentence in case.history.overruns:
        yield Violation("overrun", sentence)
