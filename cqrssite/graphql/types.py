"""The types of the schema that are the same for all aggregates. They show rows of the journal and messages as they are.

Python names become camelCase in GraphQL.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import graphene
from graphene.types.resolver import dict_or_attr_resolver

from cqrs.aggregate import Aggregate, Effect
from cqrs.journal.models import Command as Row
from cqrssite.graphql.times import iso, ms_until

Aggregates = Mapping[str, Aggregate]


class RequestStatus(graphene.Enum):
    """Whether a request was taken."""

    OK = "OK"
    ERROR = "ERROR"


class RejectReason(graphene.Enum):
    """Why a command was rejected."""

    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    INVALID = "INVALID"


class CommandState(graphene.Enum):
    """Where a command is. APPLIED, REJECTED, CANCELLED and DISCARDED are final.

    PARKED waits for an operator. HANDED_OVER was taken by the broker, for parts that do not tell what became of it.
    """

    QUEUED = "QUEUED"
    PARKED = "PARKED"
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    DISCARDED = "DISCARDED"
    HANDED_OVER = "HANDED_OVER"


class Answer(NamedTuple):
    """The answer of a mutation: the command is in the journal."""

    message: str
    command_id: str
    aggregate: str
    aggregate_id: str | None
    accepted_at: datetime
    takes_effect_at: datetime | None
    status: str = "OK"


def shown(kind: Any, show: Callable[[Any], Any] | str, *, required: bool = False, description: str = "") -> Any:
    """A field that shows what `show` makes of its source, or the source's attribute of that name."""
    if isinstance(show, str):
        # As graphene itself reads attributes, which the engine knows how to do faster.
        resolver: Any = partial(dict_or_attr_resolver, show, None)
    else:
        resolver = partial(_call, show)
    return graphene.Field(kind, resolver=resolver, required=required, description=description or None)


def _call(show: Callable[[Any], Any], source: Any, _info: Any) -> Any:
    return show(source)


def object_type(name: str, description: str, fields: Mapping[str, Any]) -> Any:
    """A type of the schema."""
    return type(name, (graphene.ObjectType,), {"__doc__": description, **fields})


def response_type(aggregates: Aggregates) -> Any:
    """RequestResponse, with an id for each aggregate."""

    def id_of(aggregate: Aggregate) -> Any:
        def show(answer: Answer) -> str | None:
            return answer.aggregate_id if answer.aggregate == aggregate.name else None

        creating = " or ".join(f"{each}{type_name(aggregate)}" for each in creating_verbs(aggregate))
        about = f"The {aggregate.label} it is about; of {creating}, the one that will be." if creating else ""
        text = f"{about or f'The {aggregate.label} it is about.'} Null where a foreign part decides."
        return shown(graphene.String, show, description=text)

    return object_type(
        "RequestResponse",
        "The answer to a mutation: the command is queued, and will take effect unless it is rejected then.",
        {
            "status": graphene.Field(RequestStatus, required=True),
            "message": graphene.String(required=True),
            "command_id": graphene.String(
                description="Names the command, for command, commandSettled and cancelCommand."
            ),
            **{f"{name}_id": id_of(aggregate) for name, aggregate in aggregates.items()},
            "takes_effect_at": shown(
                graphene.String,
                lambda answer: iso(answer.takes_effect_at) if answer.takes_effect_at else None,
                description="When it is due: ISO 8601, UTC. Null where a foreign writer decides.",
            ),
            "takes_effect_in_ms": shown(
                graphene.Int,
                _takes_effect_in_ms,
                description="Milliseconds until it is due, at the time of this answer."
                " Null where a foreign writer decides.",
            ),
        },
    )


def _takes_effect_in_ms(answer: Answer) -> int | None:
    if answer.takes_effect_at is None:
        return None
    return ms_until(answer.takes_effect_at, at_most=answer.takes_effect_at - answer.accepted_at)


def command_type(aggregates: Aggregates) -> Any:
    """Command, with an id for each aggregate."""

    def id_of(aggregate: Aggregate) -> Any:
        creating = creating_verbs(aggregate)

        def show(row: Row) -> str | None:
            named_elsewhere = row.state == Row.State.HANDED_OVER and row.verb in creating
            return None if named_elsewhere or row.aggregate != aggregate.name else row.aggregate_id

        verbs = " or ".join(f"{article(verb)} {verb}" for verb in creating)
        text = f"Null of {verbs} that was handed over: a foreign database names its {aggregate.label}."
        return shown(graphene.String, show, description=text if creating else "")

    kinds = dict.fromkeys(verb.upper() for aggregate in aggregates.values() for verb in aggregate.verbs)
    kind = type("CommandKind", (graphene.Enum,), {"__doc__": "What a command does.", **{each: each for each in kinds}})
    time = "ISO 8601, UTC."
    # A row that was just settled holds Django's choices, one that was read plain strings.
    return object_type(
        "Command",
        "A command as the journal knows it.",
        {
            "id": shown(graphene.String, "command_id", required=True),
            "kind": shown(kind, lambda row: row.verb.upper(), required=True),
            **{f"{name}_id": id_of(aggregate) for name, aggregate in aggregates.items()},
            "state": shown(CommandState, lambda row: str(row.state), required=True),
            "message": graphene.String(
                required=True, description="What happened, or why not; empty as long as it is queued."
            ),
            "reason": shown(
                RejectReason, lambda row: str(row.reason) if row.reason else None, description="Of REJECTED."
            ),
            "actor": shown(
                graphene.String,
                lambda row: row.actor or None,
                description="The user who sent it, if one was logged in.",
            ),
            "accepted_at": shown(graphene.String, lambda row: iso(row.accepted_at), required=True, description=time),
            "takes_effect_at": shown(
                graphene.String, lambda row: iso(row.takes_effect_at), required=True, description=time
            ),
            "settled_at": shown(
                graphene.String,
                lambda row: iso(row.settled_at) if row.settled_at else None,
                description=f"When what became of it was committed: {time}",
            ),
            "version": graphene.Int(
                description=f"Of the {any_of(aggregates)}, once applied; of a CONFLICT, the one it has."
            ),
        },
    )


def type_name(aggregate: Aggregate) -> str:
    """The aggregate's name in the schema: "stock_item" is StockItem."""
    return "".join(part.capitalize() for part in aggregate.name.split("_"))


def any_of(aggregates: Aggregates) -> str:
    """One of these, in a sentence."""
    return _either(aggregate.label for aggregate in aggregates.values())


def _either(words: Iterable[str]) -> str:
    return " or ".join(words)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def creating_verbs(aggregate: Aggregate) -> Collection[str]:
    """The names of the verbs that create one."""
    return [verb.name for verb in aggregate.verbs.values() if verb.effect is Effect.CREATES]
