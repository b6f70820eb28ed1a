"""How large a document may be, measured before it is validated: validation itself can be made expensive."""

from collections.abc import Iterable

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
)

MAX_LENGTH = 200_000
"""Characters of a document."""
MAX_TOKENS = 15_000
"""Tokens of a document: 500 mutations with their arguments and answers fit."""
MAX_COMMENTS = 2_000
"""Comments of a document."""
MAX_DEPTH = 20
"""Levels of selection sets. The schema needs 3; introspection, as GraphiQL asks for it, 15."""
MAX_ROOT_FIELDS = 500
"""Fields, or aliases of one, at the top of an operation."""
MAX_FIELDS = 5_000
"""Fields of an operation in all, each fragment counted wherever it is spread."""


def limit_error(document: DocumentNode) -> GraphQLError | None:
    """Why the document is too large to be validated and executed, or None."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    # Fragments are measured once each, what they spread first: without that, a few of them that spread one another
    # twice are counted a million times.
    measured: dict[str, tuple[int, int, int]] = {}
    for definition in document.definitions:
        if not isinstance(definition, OperationDefinitionNode):
            continue
        depth, top, fields = _measure(definition.selection_set.selections, fragments, measured, ())
        for size, limit, what in (
            (depth, MAX_DEPTH, "levels deep"),
            (top, MAX_ROOT_FIELDS, "fields at its top"),
            (fields, MAX_FIELDS, "fields"),
        ):
            if size > limit:
                return GraphQLError(
                    f"the operation is too large: {size} {what}, at most {limit} are answered", definition
                )
    return None


def _measure(
    selections: Iterable[SelectionNode],
    fragments: dict[str, FragmentDefinitionNode],
    measured: dict[str, tuple[int, int, int]],
    inside: tuple[str, ...],
) -> tuple[int, int, int]:
    """Levels below here, fields right here, fields here and below."""
    depth = top = fields = 0
    for selection in selections:
        if isinstance(selection, FieldNode):
            below = selection.selection_set.selections if selection.selection_set else ()
            deeper, _, more = _measure(below, fragments, measured, inside)
            depth, top, fields = max(depth, deeper + 1), top + 1, fields + more + 1
            continue
        if isinstance(selection, InlineFragmentNode):
            found = _measure(selection.selection_set.selections, fragments, measured, inside)
        elif isinstance(selection, FragmentSpreadNode):
            found = _measure_fragment(selection.name.value, fragments, measured, inside)
        else:  # pragma: no cover - GraphQL has no fourth kind of selection
            continue
        depth, top, fields = max(depth, found[0]), top + found[1], fields + found[2]
    return depth, top, fields


def _measure_fragment(
    name: str,
    fragments: dict[str, FragmentDefinitionNode],
    measured: dict[str, tuple[int, int, int]],
    inside: tuple[str, ...],
) -> tuple[int, int, int]:
    # Unknown fragments and those that spread themselves are for validation to refuse.
    if name not in fragments or name in inside:
        return 0, 0, 0
    if name not in measured:
        measured[name] = _measure(fragments[name].selection_set.selections, fragments, measured, (*inside, name))
    return measured[name]
