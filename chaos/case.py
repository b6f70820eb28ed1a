"""A history, indexed for the rules that judge it, and the violations that they find."""

from collections import defaultdict
from typing import NamedTuple

from chaos.history import STATE_OF_KIND, Command, History, Notice, Sample


class Violation(NamedTuple):
    """A broken promise, and the command and contact whose records show it."""

    rule: str
    sentence: str
    command_id: str = ""
    contact_id: str = ""


class Case:
    """The history, indexed."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.notices = [notice for _, notice in history.notices]
        self.finals: dict[str, list[Notice]] = defaultdict(list)
        # The place of a command's (first) final notice in the database's list.
        self.place: dict[str, int] = {}
        for place, notice in enumerate(self.notices):
            if notice.kind in STATE_OF_KIND:
                self.finals[notice.command_id].append(notice)
                self.place.setdefault(notice.command_id, place)
        self.commands = {command.command_id: command for command in history.commands if command.command_id}
        self.anonymous = [command for command in history.commands if not command.command_id]


def broken(command: Command, rule: str, sentence: str) -> Violation:
    subject = f"command {command.command_id} ({command.kind} of {command.contact_id or '?'})"
    return Violation(rule, f"{subject} {sentence}", command.command_id, command.contact_id)


def describe(sample: Sample) -> str:
    return f"{sample.process} said {sample.state or 'that there is none'} at {sample.answered_at:.3f}"


def describe_contact(stored: tuple[str, int] | None) -> str:
    return "not there" if stored is None else f"{stored[0]!r} at version {stored[1]}"
