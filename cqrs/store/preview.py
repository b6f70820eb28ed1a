"""What would become of parked commands if they were tried now. Nothing is changed, and nothing is locked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cqrs.store import queries
from cqrs.store.commands import body_of
from cqrs.store.dead_letters import cause_of
from cqrs.store.decide import Outcome, after, decide
from cqrs.store.models import ParkedCommand
from protocol.contact_pb2 import Contact
from protocol.contact_write_pb2 import Command


class Preview(NamedTuple):
    """A parked command as it would be tried, the contact as it would find it, and what would become of it.

    outcome: None where it fails (`error` says how), or where it has to wait for another first (`waits_for`).
    """

    parked: ParkedCommand
    command: Command
    contact: Contact | None
    outcome: Outcome | None
    error: str
    waits_for: str


def preview(parked: Sequence[ParkedCommand], amended: Mapping[str, Command] | None = None) -> list[Preview]:
    """What would become of the commands, tried now, one after the other in their order.

    amended: commands, by id, that would take the place of those that are kept. It is worked out by the very function
    that applies them; what the database itself would refuse is not foreseen.
    """
    commands = {row.command_id: Command.FromString(bytes(row.payload)) for row in parked} | dict(amended or {})
    contacts: dict[str, Contact | None] = {}
    contacts |= queries.get_contacts(list({row.contact_id for row in parked}))
    standing = {row.command_id for row in parked}
    previews = []
    for row in _in_order(parked):
        command = commands[row.command_id]
        contact = contacts.get(row.contact_id)
        outcome, error = None, ""
        # What it is behind is still parked: it was not asked about, fails, or waits itself.
        waits_for = row.behind if row.behind and (row.behind in standing or row.behind not in commands) else ""
        if not waits_for:
            try:
                outcome = decide(contact, command)
            except Exception as defect:  # noqa: BLE001  # shown: it is what is asked for
                error = cause_of(defect)
        if outcome:
            contacts[row.contact_id] = after(contact, outcome)
            standing.discard(row.command_id)
        previews.append(Preview(row, command, contact, outcome, error, waits_for))
    return previews


def asks_for(command: Command) -> str:
    """What the command says, in words."""
    body = body_of(command)
    kind = command.WhichOneof("body") or "nothing"
    text = f'{kind} "{body.name}"' if isinstance(body, Contact) else kind
    if body.meta.HasField("expected_version"):
        text += f" at version {body.meta.expected_version}"
    return text


def _in_order(parked: Sequence[ParkedCommand]) -> Iterator[ParkedCommand]:
    """By when they were parked, but each after the one it is behind."""
    left = {row.command_id: row for row in sorted(parked, key=lambda row: (row.parked_at, row.notice))}
    while left:
        ready = [row for row in left.values() if row.behind not in left]
        for row in ready or list(left.values()):
            yield left.pop(row.command_id)
