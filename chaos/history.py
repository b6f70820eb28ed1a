"""All commands, answers and notices of a trial, by one clock: seconds since its start."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson

# queued: accepted. refused: an error that rules it out. lost: no answer, or one that leaves it open.
# unreached: the request certainly never arrived.
Answer = Literal["queued", "refused", "lost", "unreached"]
CommandKind = Literal["ADD", "UPDATE", "DELETE"]
Verdict = Literal["accepted", "unknown", "refused"]

STATE_OF_KIND = {
    "ADDED": "APPLIED",
    "UPDATED": "APPLIED",
    "DELETED": "APPLIED",
    "REJECTED": "REJECTED",
    "CANCELLED": "CANCELLED",
    "DISCARDED": "DISCARDED",
}
FINAL_STATES = frozenset(STATE_OF_KIND.values())


@dataclass(slots=True)
class Attempt:
    """One sending of a command or of its cancellation."""

    gateway: str
    sent_at: float
    answered_at: float | None = None
    answer: Answer = "lost"
    # Refused: the error's code and message; lost: why.
    code: str = ""
    message: str = ""
    # Queued: the ids of the answer.
    command_id: str = ""
    contact_id: str = ""


@dataclass(slots=True)
class Command:
    """A command that a client sent, with all its sendings."""

    number: int
    kind: CommandKind
    # Empty: an add whose answer never came.
    contact_id: str
    # No two commands of a trial have the same; a delete has none.
    name: str
    # Empty: minted by a gateway whose answer never came.
    command_id: str
    own_id: bool
    expected_version: int | None = None
    # The document it stood in, and where: the mutations of a document are accepted in order.
    document: int = 0
    index: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    cancels: list[Attempt] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """accepted: an answer said queued. unknown: none did, some were lost. refused: certainly not accepted."""
        answers = {attempt.answer for attempt in self.attempts}
        return "accepted" if "queued" in answers else "unknown" if "lost" in answers else "refused"

    @property
    def sent_at(self) -> float:
        """No acceptance can have been before."""
        may_have_been = [a.sent_at for a in self.attempts if a.answer in ("queued", "lost")]
        return min(may_have_been, default=float("inf"))

    @property
    def accepted_by(self) -> float:
        """The acceptance was at this time at the latest; infinity when no answer said so."""
        return min(
            (a.answered_at for a in self.attempts if a.answer == "queued" and a.answered_at is not None),
            default=float("inf"),
        )


@dataclass(slots=True, frozen=True)
class Notice:
    """A notice as one reader of it saw it. An absent contact has an empty name and version 0."""

    position: str
    kind: str
    command_id: str
    contact_id: str
    name: str
    version: int
    reason: str


@dataclass(slots=True)
class Watcher:
    """One subscriber, through all its connections."""

    name: str
    # Empty: of all contacts.
    contact_id: str = ""
    seen: list[Notice] = field(default_factory=list)
    connections: int = 0
    # Errors that a subscriber must not get, such as that its position were of another history.
    refusals: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sample:
    """The state of a command as one gateway process answered. No state: it knew of no such command."""

    command_id: str
    # The gateway's name and the number of its process: a new process may have to learn again.
    process: str
    sent_at: float
    answered_at: float
    state: str
    version: int | None = None


@dataclass(slots=True)
class Read:
    """A contact as it was read with `afterCommand`. Version 0: there was none."""

    contact_id: str
    after_command: str
    gateway: str
    sent_at: float
    version: int


@dataclass(slots=True)
class Stored:
    """A contact as `contact(id)` or `listContacts` answered at the end."""

    contact_id: str
    name: str
    version: int


@dataclass(slots=True)
class Event:
    """An action of the trial itself, for the reader of a history."""

    at: float
    what: str


@dataclass(slots=True)
class History:
    """All of it. What stands under "at the end" was asked once everything had healed."""

    seed: int
    commands: list[Command] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    # At the end: the database's list, as (number, notice); what each gateway says of each command;
    # the contacts there are, and the first 1,000 of the list.
    notices: list[tuple[int, Notice]] = field(default_factory=list)
    outcomes: list[Sample] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    listed: list[Stored] = field(default_factory=list)
    # Sentences on time limits that were exceeded; the report shows them as they are.
    overruns: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Writes one JSON file for each list, one record a line."""
        folder.mkdir(parents=True, exist_ok=True)
        lists: dict[str, Iterable[object]] = {
            "commands": self.commands,
            "watchers": self.watchers,
            "samples": self.samples,
            "reads": self.reads,
            "events": self.events,
            "notices": self.notices,
            "outcomes": self.outcomes,
            "stored": self.stored,
        }
        for name, records in lists.items():
            with (folder / f"{name}.jsonl").open("wb") as file:
                file.writelines(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)
