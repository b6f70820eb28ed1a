"""Mutations that become commands: alone, or all those of a document in one commit of the journal.

Reason: a commit is a wait for the disk, so a hundred mutations one by one are a hundred of them.
Gain: in documents of a hundred addContact, 154 → 12 µs of CPU a command beside an instant journal; beside a real one,
a hundredth of the commits.
The plain path: `WriteResolver`, by which each mutation accepts its command alone, as a group of one.

In a document each mutation sees the effects of those before it, and those after one that fails are not executed. Both
hold here: `accept_all` accepts together only what no client can tell from one by one, and goes one by one where the
journal refuses.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from cqrs.aggregate import Aggregate, Effect, Verb
from cqrs.journal import commands
from cqrs.journal.accepted import Accepted
from cqrs.query.errors import ReadError
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.executor import Info
from cqrssite.graphql.errors import NotFound
from cqrssite.graphql.types import Answer
from protocol.cqrs_command_pb2 import Command

READ_SECONDS = 0.5
"""How long the reader may take to say whether an aggregate exists; after that the database decides."""

Outcomes = list[Answer | Exception]


class Write(NamedTuple):
    """A mutation whose arguments are right."""

    resolver: "WriteResolver"
    command: Command
    key: str | None
    """The command id that the client brought."""

    @property
    def about(self) -> tuple[str, str]:
        """The aggregate that it changes."""
        return self.resolver.aggregate.name, self.command.aggregate_id


class WriteResolver:
    """The resolver of a verb's mutation."""

    def __init__(self, aggregate: Aggregate, verb: Verb) -> None:
        self.aggregate = aggregate
        self.creates = verb.effect is Effect.CREATES
        self.message = f"Queued to {verb.name}"
        self._verb = verb

    async def __call__(self, _root: Any, info: Info, /, **arguments: Any) -> Answer:
        (outcome,) = await accept_all(info.context, [(self, arguments)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write(self, actor: str, arguments: dict[str, Any]) -> Write:
        """Raises InvalidCommand."""
        own = arguments.copy()
        key = own.pop("command_id", None)
        command = commands.build(
            self._verb,
            own,
            aggregate_id=None if self.creates else own.pop("id"),
            expected_version=None if self.creates else own.pop("expected_version", None),
            command_id=key,
            actor=actor,
        )
        return Write(self, command, key)


async def accept_all(context: Context, calls: Sequence[tuple[WriteResolver, dict[str, Any]]]) -> Outcomes:
    """Accepts the writes of these mutations with their arguments, in turn as far as anyone can tell.

    Answers for all of them; or for those before the first that fails, and its exception.
    """
    outcomes: Outcomes = []
    group = _Group()
    failure: Exception | None = None
    for resolver, arguments in calls:
        try:
            write = resolver.write(await context.actor(), arguments)
        except Exception as error:  # noqa: BLE001 - the outcome of this mutation
            failure = error
            break
        if group.decides_about(write):
            outcomes += await _accept_group(context, group.writes)
            if _has_failed(outcomes):
                return outcomes
            group = _Group()
        group.add(write)
    outcomes += await _accept_group(context, group.writes)
    return _ended(outcomes, failure) if failure else outcomes


class _Group:
    """Writes that can be accepted together."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self._keys: set[str] = set()
        self._keyed: set[tuple[str, str]] = set()

    def add(self, write: Write) -> None:
        self.writes.append(write)
        if write.key is not None:
            self._keys.add(write.key)
            self._keyed.add(write.about)

    def decides_about(self, write: Write) -> bool:
        """Whether this write can only be judged when these are accepted.

        A command with a key may have been settled long ago: only the journal tells whether its aggregate is pending.
        """
        return write.key in self._keys or (not write.resolver.creates and write.about in self._keyed)


async def _accept_group(context: Context, group: Sequence[Write]) -> Outcomes:
    """Accepts those before the first whose aggregate does not exist, which is all where there is none."""
    to_check: list[int] = []
    pending: set[tuple[str, str]] = set()
    for place, write in enumerate(group):
        # When this one is accepted, the aggregates of those before it are pending.
        if not write.resolver.creates and write.about not in pending:
            to_check.append(place)
        pending.add(write.about)
    checks = [_why_not(context, group[place]) for place in to_check]
    # One alone, as most are, needs no task of its own.
    found = await asyncio.gather(*checks) if len(checks) > 1 else [await check for check in checks]
    for place, error in zip(to_check, found, strict=True):
        if error is not None:
            return _ended(await _accept_checked(context, group[:place]), error)
    return await _accept_checked(context, group)


async def _accept_checked(context: Context, group: Sequence[Write]) -> Outcomes:
    if not group:
        return []
    try:
        fresh = all(write.key is None for write in group)
        accepted = await context.services.journal.accept([write.command for write in group], fresh=fresh)
        return [_answer(context, write, each) for write, each in zip(group, accepted, strict=True)]
    except Exception as error:  # noqa: BLE001 - the outcome of the one command that it is about
        return [error] if len(group) == 1 else await _accept_in_turn(context, group)


async def _accept_in_turn(context: Context, group: Sequence[Write]) -> Outcomes:
    """Accepts as many of the group as the journal takes. (A command that it has taken all the same is known.)"""
    outcomes: Outcomes = []
    for write in group:
        try:
            (accepted,) = await context.services.journal.accept([write.command])
            outcomes.append(_answer(context, write, accepted))
        except Exception as error:  # noqa: BLE001 - the outcome of this mutation
            return _ended(outcomes, error)
    return outcomes


def _has_failed(outcomes: Outcomes) -> bool:
    return bool(outcomes) and isinstance(outcomes[-1], Exception)


def _ended(outcomes: Outcomes, error: Exception) -> Outcomes:
    """With this error at the end, unless they have ended before."""
    return outcomes if _has_failed(outcomes) else [*outcomes, error]


async def _why_not(context: Context, write: Write) -> Exception | None:
    """NotFound when the aggregate is neither pending nor stored, or why that cannot be found out.

    The journal is asked first: an aggregate whose command settles between the two questions is seen by the second.
    """
    services = context.services
    aggregate, aggregate_id = write.about
    try:
        # A repeated command gets its first answer, though the aggregate may not exist any more: because of it, even.
        if write.key is not None and await services.journal.find(write.key) is not None:
            return None
        if await services.journal.is_pending(aggregate, aggregate_id):
            return None
        state = await services.reader.get(aggregate, aggregate_id, timeout=READ_SECONDS)
    except ReadError:
        # Without the reader the command is as good as one that was valid when it was sent: the database decides.
        return None
    except Exception as error:  # noqa: BLE001 - the outcome of this mutation
        return error
    return NotFound(write.resolver.aggregate.missing(aggregate_id)) if state is None else None


def _answer(context: Context, write: Write, accepted: Accepted) -> Answer:
    services = context.services
    aggregate_id: str | None = accepted.aggregate_id
    if write.resolver.creates and services.feed.state == "missing":
        # The database may be a foreign one, which gives each aggregate an id of its own.
        aggregate_id = None
    takes_effect_at = None if services.foreign_writer else accepted.takes_effect_at
    return Answer(
        write.resolver.message,
        accepted.command_id,
        accepted.aggregate,
        aggregate_id,
        accepted.accepted_at,
        takes_effect_at,
    )
