"""What a document may cost, estimated before it is validated: validation itself can be made expensive.

The estimate is taken of the work that validation and execution do, not of the text: fields that are merged are compared
pair by pair, fragments count wherever they are spread, lists of introspection as long as they are. It goes through the
tree without recursion, and ends where a limit is passed, so it takes some milliseconds of the worst document.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from cqrssite.graphql.engine.slices import breathe

MAX_LENGTH = 200_000
"""Characters of a document."""
MAX_TOKENS = 15_000
"""Tokens of a document: 500 mutations with their arguments and answers fit."""
MAX_COMMENTS = 2_000
"""Comments of a document."""
MAX_NAME = 200
"""Characters of a name: errors repeat it."""
MAX_DIGITS = 100
"""Digits of a number: beyond some thousands Python does not even read it."""
MAX_OPERATIONS = 50
MAX_FRAGMENTS = 200
MAX_CHAIN = 25
"""Fragments that spread one another in a row; graphql-core follows them by recursion."""
MAX_VARIABLES = 500
MAX_DIRECTIVES = 500
MAX_DIRECTIVES_AT_ONE_PLACE = 20
MAX_DEPTH = 20
"""Levels of selection sets. The schema needs 3; introspection, as GraphiQL asks for it, 15."""
MAX_FIELDS_AT_ONE_PLACE = 500
"""Fields, or aliases of one, in one selection: at the top of an operation, or of one object."""
MAX_FIELDS = 5_000
"""Fields and arguments of all operations and fragments, each fragment counted wherever it is spread."""
MAX_COMPARISONS = 2_000
"""Pairs of fields that have one name in the response, each 10 µs: 63 times one field."""
MAX_INTROSPECTED = 30_000
"""Values that introspection answers with; GraphiQL's own question some 9,000 of this schema."""

_NO_NAMES = re.compile(r'"""(?:\\"""|[\s\S])*?"""|"(?:\\.|[^"\\\r\n])*"|#[^\r\n]*')
_LONG_NAME = re.compile(rf"[_A-Za-z][_0-9A-Za-z]{{{MAX_NAME},}}")
_LONG_NUMBER = re.compile(rf"(?<![_A-Za-z0-9])[0-9]{{{MAX_DIGITS + 1},}}")

Fragments = Mapping[str, FragmentDefinitionNode]


class TooCostly(GraphQLError):
    """A document asks for too much work."""

    def __init__(self, what: str, found: str, limit: int) -> None:
        super().__init__(f"the document is too large: {found} {what}, at most {limit} are answered")


def check_text(source: str) -> None:
    """Raises TooCostly for a name or a number that is too long."""
    if not _LONG_NAME.search(source) and not _LONG_NUMBER.search(source):
        return
    bare = _NO_NAMES.sub('""', source)
    if found := _LONG_NAME.search(bare):
        raise TooCostly("characters in a name", str(len(found[0])), MAX_NAME)
    if found := _LONG_NUMBER.search(bare):
        raise TooCostly("digits in a number", str(len(found[0])), MAX_DIGITS)


class Limits:
    """The limits of documents for one schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._lengths = _lengths(schema)

    def check(self, document: DocumentNode) -> None:
        """Raises TooCostly."""
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        _at_most(MAX_OPERATIONS, len(operations), "operations")
        _at_most(MAX_FRAGMENTS, len(document.definitions) - len(operations), "fragments")
        _at_most(MAX_VARIABLES, sum(len(node.variable_definitions or ()) for node in operations), "variables")
        _check_directives(document)
        _check_chains(fragments)
        work = _Work(fragments, self._lengths)
        for operation in operations:
            work.add(operation.selection_set)
        for fragment in fragments.values():
            # Those that nobody spreads are validated as well.
            work.add(fragment.selection_set)


def _at_most(limit: int, found: int, what: str) -> None:
    if found > limit:
        raise TooCostly(what, str(found), limit)


class _Work:
    """The work that the definitions of a document cause, added up."""

    def __init__(self, fragments: Fragments, lengths: Mapping[str, int]) -> None:
        self._fragments = fragments
        self._lengths = lengths
        self._fields = self._comparisons = self._introspected = 0

    def add(self, selections: SelectionSetNode) -> None:
        """Adds an operation or fragment, with fields that are merged looked at together. Raises TooCostly."""
        # Selection sets that are merged, how deep they are, and how many values there are of each of their fields, if
        # they belong to introspection.
        levels: list[tuple[list[SelectionSetNode], int, int]] = [([selections], 1, 0)]
        while levels:
            merged, depth, values = levels.pop()
            _at_most(MAX_DEPTH, depth, "levels of fields")
            fields = self._collect(merged)
            _at_most(MAX_FIELDS_AT_ONE_PLACE, sum(map(len, fields.values())), "fields at one place")
            self._introspected += values * len(fields)
            _at_most(MAX_INTROSPECTED, self._introspected, "values of introspection")
            for nodes in fields.values():
                self._compare(len(nodes))
                below = [node.selection_set for node in nodes if node.selection_set]
                if below:
                    name = nodes[0].name.value
                    begins = name in ("__schema", "__type")
                    values_below = 1 if begins else values * self._lengths.get(name, 1)
                    levels.append((below, depth + 1, values_below))
            breathe()

    def _collect(self, merged: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """The fields of these selection sets by their names in the response."""
        fields: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()
        left: list[Iterator[Any]] = [iter(each.selections) for each in reversed(merged)]
        while left:
            for node in left[-1]:
                self._fields += 1
                if self._fields > MAX_FIELDS:
                    raise TooCostly(
                        "fields and arguments, fragments counted wherever they are spread,", "more", MAX_FIELDS
                    )
                if isinstance(node, FieldNode):
                    self._fields += _values_in(node)
                    fields.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
                elif isinstance(node, InlineFragmentNode):
                    left.append(iter(node.selection_set.selections))
                    break
                elif node.name.value in self._fragments and node.name.value not in spread:
                    spread.add(node.name.value)
                    left.append(iter(self._fragments[node.name.value].selection_set.selections))
                    break
            else:
                left.pop()
        self._compare(len(spread))
        return fields

    def _compare(self, number: int) -> None:
        self._comparisons += number * (number - 1) // 2
        _at_most(MAX_COMPARISONS, self._comparisons, "comparisons of fields that are merged")


def _values_in(field: FieldNode) -> int:
    """Arguments, and the values inside of them."""
    found = 0
    left: list[Node] = [argument.value for argument in field.arguments or ()]
    while left:
        found += 1
        value = left.pop()
        if isinstance(value, ListValueNode):
            left.extend(value.values)
        elif isinstance(value, ObjectValueNode):
            left.extend(each.value for each in value.fields)
    return found


def _check_directives(document: DocumentNode) -> None:
    found = 0
    left: list[Any] = list(document.definitions)
    while left:
        node = left.pop()
        here = len(node.directives or ())
        _at_most(MAX_DIRECTIVES_AT_ONE_PLACE, here, "directives at one place")
        found += here
        left.extend(getattr(node, "variable_definitions", None) or ())
        inside = getattr(node, "selection_set", None)
        if inside:
            left.extend(inside.selections)
        breathe()
    _at_most(MAX_DIRECTIVES, found, "directives")


def _check_chains(fragments: Fragments) -> None:
    """Raises TooCostly where fragments spread one another too far. A circle counts as what it is walked along."""
    lengths: dict[str, int] = {}
    for first in fragments:
        path: list[tuple[str, Iterator[str]]] = [(first, iter(_spreads(fragments[first])))]
        on_path = {first}
        while path:
            name, spreads = path[-1]
            lengths.setdefault(name, 1)
            _at_most(MAX_CHAIN, len(path), "fragments that spread one another in a row")
            for spread in spreads:
                if spread not in fragments or spread in on_path:
                    continue
                if spread in lengths:
                    lengths[name] = max(lengths[name], lengths[spread] + 1)
                    continue
                path.append((spread, iter(_spreads(fragments[spread]))))
                on_path.add(spread)
                break
            else:
                path.pop()
                on_path.discard(name)
                if path:
                    above = path[-1][0]
                    lengths[above] = max(lengths[above], lengths[name] + 1)
        _at_most(MAX_CHAIN, lengths[first], "fragments that spread one another in a row")
        breathe()


def _spreads(fragment: FragmentDefinitionNode) -> Iterable[str]:
    found: dict[str, None] = {}
    left = [fragment.selection_set]
    while left:
        for node in left.pop().selections:
            if isinstance(node, FragmentSpreadNode):
                found[node.name.value] = None
            elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
                left.append(node.selection_set)
    return found


def _lengths(schema: GraphQLSchema) -> dict[str, int]:
    """How long the lists of introspection are, on average where there are several, by their fields' names."""
    kinds = list(schema.type_map.values())
    composite = [kind for kind in kinds if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)]
    fields = [field for kind in composite for field in kind.fields.values()]
    enums = [kind for kind in kinds if isinstance(kind, GraphQLEnumType)]
    inputs = [kind for kind in kinds if isinstance(kind, GraphQLInputObjectType)]

    def average(number: int, of: int) -> int:
        return -(-number // max(of, 1))

    return {
        "types": len(kinds),
        "directives": len(schema.directives),
        "fields": average(len(fields), len(kinds)),
        "args": average(sum(len(field.args) for field in fields), len(fields)),
        "enumValues": average(sum(len(kind.values) for kind in enums), len(kinds)),
        "inputFields": average(sum(len(kind.fields) for kind in inputs), len(kinds)),
    }
