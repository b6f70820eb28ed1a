"""What the schema has of one aggregate, made from its declaration: types, queries, mutations and its subscription."""

from collections.abc import Callable
from typing import Any

import graphene
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cqrs.aggregate import OWN_FIELDS, Aggregate, Effect, Verb
from cqrssite.graphql.engine.events import EventMemory
from cqrssite.graphql.queries import AFTER_COMMAND, first_of, one_of
from cqrssite.graphql.subscriptions import changes_of
from cqrssite.graphql.times import iso_of
from cqrssite.graphql.types import RejectReason, article, object_type, shown, type_name
from cqrssite.graphql.writes import WriteResolver
from protocol.cqrs_notice_pb2 import Notice

_SCALARS: dict[int, Any] = {
    FieldDescriptor.TYPE_STRING: graphene.String,
    FieldDescriptor.TYPE_BOOL: graphene.Boolean,
    FieldDescriptor.TYPE_INT32: graphene.Int,
    FieldDescriptor.TYPE_SINT32: graphene.Int,
    FieldDescriptor.TYPE_UINT32: graphene.BigInt,
    FieldDescriptor.TYPE_INT64: graphene.BigInt,
    FieldDescriptor.TYPE_SINT64: graphene.BigInt,
    FieldDescriptor.TYPE_UINT64: graphene.BigInt,
    FieldDescriptor.TYPE_FLOAT: graphene.Float,
    FieldDescriptor.TYPE_DOUBLE: graphene.Float,
}
_COMMAND_ID = (
    "An idempotency key: sent again with the same arguments, the command takes effect once and the answer is the same."
)
_AFTER_POSITION = 'First all that came after this position ("0": from the beginning), then on as it comes.'
_POSITION = "Opaque: give it as afterPosition to go on after this one."

# States of notices, parsed once for any number of sockets, and only where one shows them. limit: bytes as serialised.
_states: EventMemory[Message] = EventMemory(4 * 1024 * 1024)


class AggregateSchema:
    """The parts of the schema that belong to one aggregate.

    kinds: the enum of kinds of notices. Raises TypeError for a field of a message that GraphQL has no type for.
    """

    def __init__(self, aggregate: Aggregate, kinds: Any) -> None:
        self._aggregate = aggregate
        self._name, self._label, self._type_name = aggregate.name, aggregate.label, type_name(aggregate)
        self._state = self._state_type()
        self._notice = self._notice_type(kinds)

    def queries(self) -> dict[str, Any]:
        """Fields of Query."""
        descriptions = {
            self._name: f"One {self._label}. A missing one is null, with an error whose code is NOT_FOUND.",
            **self._aggregate.aliases,
        }
        ones = {each: self._one(description) for each, description in descriptions.items()}
        count = graphene.Int(required=True, description="How many, from 0 to 1000.")
        counted = f"{self._label}s, counting each list{self._type_name}s"
        first = graphene.Field(
            graphene.List(self._state),
            args={"count": count, "after_command": graphene.String(description=AFTER_COMMAND)},
            resolver=first_of(self._aggregate, counted),
            description=f"The first {self._label}s there are.",
        )
        return {**ones, f"list_{self._name}s": first}

    def mutations(self, response: Any) -> dict[str, Any]:
        """Fields of Mutation. response: the type that they answer."""
        return {
            f"{verb.name}_{self._name}": graphene.Field(
                response,
                args=self._arguments(verb),
                resolver=WriteResolver(self._aggregate, verb),
                required=True,
                description=verb.description or None,
            )
            for verb in self._aggregate.verbs.values()
        }

    def subscriptions(self) -> dict[str, Any]:
        """Fields of Subscription, and the functions that begin them."""
        changed = graphene.Field(
            self._notice,
            args={
                f"{self._name}_id": graphene.String(description=f"Only notices about this {self._label}."),
                "command_id": graphene.String(description="Only notices about this command."),
                "after_position": graphene.String(description=_AFTER_POSITION),
            },
            required=True,
            description="Every commit and rejection, in order, once.",
        )
        return {f"{self._name}_changed": changed, f"subscribe_{self._name}_changed": changes_of(self._aggregate)}

    def _one(self, description: str) -> Any:
        wanted = graphene.String(required=True, description=f"The id of the {self._label}.")
        return graphene.Field(
            self._state,
            args={"id": wanted, "after_command": graphene.String(description=AFTER_COMMAND)},
            resolver=one_of(self._aggregate),
            description=description,
        )

    def _state_type(self) -> Any:
        last_updated = "When it last changed: ISO 8601, UTC."
        fields = [each for each in self._aggregate.state.DESCRIPTOR.fields if each.name not in OWN_FIELDS]
        return object_type(
            self._type_name,
            f"{article(self._label).capitalize()} {self._label} as stored.",
            {
                "id": graphene.String(),
                **{each.name: _field(each) for each in fields},
                # The contract's own spelling.
                "last_updated": _named("last_updated", graphene.String, _last_updated, last_updated),
                "last_updated_twin": _named("lastUpdated", graphene.String, _last_updated, "The same as last_updated."),
                "version": shown(
                    graphene.Int,
                    lambda state: state.version or None,
                    description="How many commands made it what it is; 1 when it was added.",
                ),
            },
        )

    def _notice_type(self, kinds: Any) -> Any:
        parse = self._aggregate.state.FromString

        def state_of(notice: Notice) -> Message | None:
            serialised = notice.state
            if not serialised:
                return None
            state = _states.get(notice)
            if state is None:
                state = parse(serialised)
                _states.keep(notice, state, len(serialised))
            return state

        return object_type(
            f"{self._type_name}Notice",
            "What became of one command, in the order in which that was committed.",
            {
                "position": graphene.String(required=True, description=_POSITION),
                "kind": shown(kinds, lambda notice: Notice.Kind.Name(notice.kind), required=True),
                "command_id": shown(graphene.String, lambda notice: notice.command_id or None),
                f"{self._name}_id": shown(graphene.String, "aggregate_id", required=True),
                self._name: shown(self._state, state_of, description="As committed; when deleted, as it was last."),
                "message": graphene.String(required=True),
                "reason": shown(
                    RejectReason,
                    lambda notice: Notice.Reason.Name(notice.reason) if notice.reason else None,
                    description="Of REJECTED.",
                ),
                "committed_at": shown(
                    graphene.String,
                    lambda notice: iso_of(notice.committed_at),
                    required=True,
                    description="ISO 8601, UTC.",
                ),
            },
        )

    def _arguments(self, verb: Verb) -> dict[str, Any]:
        columns = self._aggregate.store.columns
        own = [verb.body.DESCRIPTOR.fields_by_name[each] for each in self._aggregate.arguments(verb)]
        arguments: dict[str, Any] = {}
        if verb.effect is not Effect.CREATES:
            arguments["id"] = graphene.String(required=True)
        for each in own:
            text = columns[each.name].help_text if each.name in columns else ""
            arguments[each.name] = _scalar(each)(required=not each.has_presence, description=text or None)
        if verb.effect is not Effect.CREATES:
            text = f"Reject the command (CONFLICT) unless the {self._label} has this version then."
            arguments["expected_version"] = graphene.Int(description=text)
        return {**arguments, "command_id": graphene.String(description=_COMMAND_ID)}


def _last_updated(state: Any) -> str | None:
    return iso_of(state.last_updated) if state.HasField("last_updated") else None


def _named(name: str, kind: Any, show: Callable[[Any], Any], description: str) -> Any:
    field = shown(kind, show, description=description)
    field.name = name
    return field


def _field(field: Any) -> Any:
    """A field of a state, which is null where it is absent."""
    name = field.name
    if not field.has_presence:
        return shown(_scalar(field), name, required=True)
    return shown(_scalar(field), lambda state: getattr(state, name) if state.HasField(name) else None)


def _scalar(field: Any) -> Any:
    scalar = None if field.is_repeated else _SCALARS.get(field.type)
    if scalar is None:
        raise TypeError(f"{field.full_name} cannot be shown: GraphQL has no scalar for its type")
    return scalar
