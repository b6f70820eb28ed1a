"""What a resolver returned, turned into what is sent: for each selection set a function, made once.

Reason: graphql-core finds out for every value of every answer which type it has and how that is completed.
Gain: ten contacts of three fields, 230 → 20 µs of CPU; nothing when `Once` has them.
The plain path: graphql-core's completion, which also takes over whenever a function here raises (`executor.replay`):
so these need to know what is right, not what is to be said about what is wrong.

Below the root, resolvers are plain functions of their source alone. Those that graphene
supplies read an attribute: no source of ours is a dict.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from graphene.types.resolver import dict_or_attr_resolver
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
)
from graphql.type.scalars import GRAPHQL_MAX_INT, GRAPHQL_MIN_INT

from cqrssite.graphql.engine.slices import breathe

Complete = Callable[[Any], Any]
"""From what a resolver returned to what is sent. Raises anything where that is an error."""
Collect = Callable[[GraphQLObjectType, Sequence[FieldNode]], dict[str, list[FieldNode]]]
"""The fields selected below these nodes, by the name that they have in the response."""


class NotCovered(Exception):
    """This is left to graphql-core."""


class Impossible(Exception):
    """The value cannot be sent; graphql-core will say why."""


def completion(kind: GraphQLOutputType, nodes: Sequence[FieldNode], collect: Collect) -> Complete:
    """How values of this type are completed, with the fields that are selected below. Raises NotCovered."""
    match kind:
        case GraphQLNonNull():
            return _required(completion(kind.of_type, nodes, collect))
        case GraphQLList():
            return _list(completion(kind.of_type, nodes, collect))
        case GraphQLObjectType() if not kind.is_type_of:
            return _object([(name, _reader(kind, found, collect)) for name, found in collect(kind, nodes).items()])
        case GraphQLScalarType() if kind is GraphQLString:
            return _string(_leaf(kind))
        case GraphQLScalarType() if kind is GraphQLInt:
            return _int(_leaf(kind))
        case GraphQLEnumType():
            return _enum(_leaf(kind))
        case _:
            raise NotCovered(f"values of type {kind}")


class Once:
    """Completes once what several requests are given at once: one and the same object.

    A reader that reads a key once for several requests wakes them all in the same turn of the event loop, so nothing is
    remembered for longer than that.
    """

    def __init__(self, complete: Complete) -> None:
        self._complete = complete
        self._value: Any = None
        self._completed: Any = None

    def __call__(self, value: Any) -> Any:
        if value is not self._value:
            completed = self._complete(value)
            self._value, self._completed = value, completed
            asyncio.get_running_loop().call_soon(self._forget)
        return self._completed

    def _forget(self) -> None:
        self._value = self._completed = None


def field_of(parent: GraphQLObjectType, node: FieldNode) -> GraphQLField:
    """The definition of a field of our own. Raises NotCovered for one of introspection."""
    field: GraphQLField | None = parent.fields.get(node.name.value)
    if field is None:
        raise NotCovered(f"the field {node.name.value}")
    return field


def _reader(parent: GraphQLObjectType, nodes: list[FieldNode], collect: Collect) -> Complete:
    """How one field is read from the object it belongs to."""
    breathe()
    if nodes[0].name.value == "__typename":
        return lambda _source: parent.name
    field = field_of(parent, nodes[0])
    if field.args:
        raise NotCovered(f"the field {nodes[0].name.value}, which has arguments")
    complete = completion(field.type, nodes, collect)
    resolve: Any = field.resolve
    if isinstance(resolve, partial) and resolve.func is dict_or_attr_resolver:
        attribute, default = resolve.args
        if field.type in (GraphQLString, GraphQLNonNull(GraphQLString)):
            return _text(attribute, default, complete)
        return lambda source: complete(getattr(source, attribute, default))
    return lambda source: complete(resolve(source, None))


def _text(attribute: str, default: Any, complete: Complete) -> Complete:
    """Most fields are this: one call less."""

    def read(source: Any) -> Any:
        value = getattr(source, attribute, default)
        return value if type(value) is str else complete(value)

    return read


def _object(fields: Iterable[tuple[str, Complete]]) -> Complete:
    readers = tuple(fields)

    def complete(source: Any) -> Any:
        return None if source is None else {name: read(source) for name, read in readers}

    return complete


def _list(item: Complete) -> Complete:
    def complete(values: Any) -> Any:
        return None if values is None else [item(value) for value in values]

    return complete


def _required(inner: Complete) -> Complete:
    def complete(value: Any) -> Any:
        completed = inner(value)
        if completed is None:
            raise Impossible
        return completed

    return complete


def _leaf(kind: GraphQLScalarType | GraphQLEnumType) -> Complete:
    serialize = kind.serialize

    def complete(value: Any) -> Any:
        if value is None or value is Undefined:
            return None
        if isinstance(value, Exception):
            raise value
        serialized = serialize(value)
        if serialized is None or serialized is Undefined:
            raise Impossible
        return serialized

    return complete


def _string(other: Complete) -> Complete:
    return lambda value: value if type(value) is str else other(value)


def _int(other: Complete) -> Complete:
    def complete(value: Any) -> Any:
        is_plain = type(value) is int and GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT
        return value if is_plain else other(value)

    return complete


def _enum(other: Complete) -> Complete:
    # As many as the enum has members: what it does not know raises.
    known: dict[str, str] = {}

    def complete(value: Any) -> Any:
        if type(value) is not str:
            return other(value)
        name = known.get(value)
        if name is None:
            name = known[value] = other(value)
        return name

    return complete
