"""Shows the outcome that parked commands would have if they were tried now. It changes and locks nothing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from cqrs.aggregate import registry, verb_of
from cqrs.store.database import cursor
from cqrs.store.dead_letters import cause_of
from cqrs.store.decide import Outcome, after, decide
from cqrs.store.models import MAX_SUMMARY, ParkedCommand
from protocol.cqrs_command_pb2 import Command


class Preview(NamedTuple):
    """A parked command as it would be tried, the state that it would find, and its outcome.

    outcome: None where it fails (`error` says how), or where it has to wait for another first (`waits_for`).
    """

    parked: ParkedCommand
    command: Command
    state: Any | None
    outcome: Outcome | None
    error: str
    waits_for: str


def preview(parked: Sequence[ParkedCommand], amended: Mapping[str, Command] | None = None) -> list[Preview]:
    """The outcomes of the commands, tried now, one after the other in their order.

    amended: commands, by id, that would take the place of those that are kept. The function that applies commands
    decides here too; a refusal of the database itself is not foreseen.
    """
    commands = {row.command_id: Command.FromString(bytes(row.payload)) for row in parked} | dict(amended or {})
    states = _states(parked)
    standing = {row.command_id for row in parked}
    previews = []
    for row in _in_order(parked):
        command, key = commands[row.command_id], (row.aggregate, row.aggregate_id)
        state = states.get(key)
        outcome, error = None, ""
        # The command before it is still parked: it was not asked about, fails, or waits itself.
        waits_for = row.behind if row.behind and (row.behind in standing or row.behind not in commands) else ""
        if not waits_for:
            try:
                outcome = decide(state, command)
            except Exception as defect:  # noqa: BLE001  # shown: it is what is asked for
                error = cause_of(defect)
        if outcome:
            states[key] = after(state, outcome)
            standing.discard(row.command_id)
        previews.append(Preview(row, command, state, outcome, error, waits_for))
    return previews


def asks_for(command: Command) -> str:
    """The command in words: 'add "Ada" at version 3'; the names of arguments where there may be several."""
    verb = verb_of(command.kind)
    if verb is None:
        return command.kind or "nothing"
    text = verb.name
    try:
        body = verb.body.FromString(command.body)
    except DecodeError:
        return f"{text} (malformed)"
    names = registry()[verb.aggregate].arguments(verb)
    for each in verb.body.DESCRIPTOR.fields:
        if each.name in names and (not each.has_presence or body.HasField(each.name)):
            value = str(getattr(body, each.name))[:MAX_SUMMARY]
            text += f' "{value}"' if len(names) == 1 else f' {each.name} "{value}"'
    if command.meta.HasField("expected_version"):
        text += f" at version {command.meta.expected_version}"
    return text


def _states(parked: Sequence[ParkedCommand]) -> dict[tuple[str, str], Any | None]:
    """The states of the aggregates that the commands are about, by aggregate and id."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for row in parked:
        ids[row.aggregate].add(row.aggregate_id)
    states: dict[tuple[str, str], Any | None] = {}
    with cursor() as on:
        for aggregate, its_ids in ids.items():
            if declared := registry().get(aggregate):
                found = declared.store.load(on, list(its_ids))
                states |= {(aggregate, aggregate_id): stored.state for aggregate_id, stored in found.items()}
    return states


def _in_order(parked: Sequence[ParkedCommand]) -> Iterator[ParkedCommand]:
    """In the order they were parked, but each after the command it is behind."""
    rest = {row.command_id: row for row in sorted(parked, key=lambda row: (row.parked_at, row.notice))}
    while rest:
        ready = [row for row in rest.values() if row.behind not in rest]
        for row in ready or list(rest.values()):
            yield rest.pop(row.command_id)
