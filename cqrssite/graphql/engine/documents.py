"""Documents parsed, validated and compiled once, then remembered: most clients send the same few."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    parse,
    validate,
)

from cqrssite.graphql.engine.errors import (
    BAD_USER_INPUT,
    GRAPHQL_PARSE_FAILED,
    GRAPHQL_VALIDATION_FAILED,
    RequestRefused,
    format_error,
    plain,
)
from cqrssite.graphql.engine.limits import MAX_COMMENTS, MAX_LENGTH, MAX_TOKENS, limit_error
from cqrssite.graphql.engine.literals import Literal, lift, places
from cqrssite.graphql.engine.plan import Plan, Slots, slots_of
from cqrssite.graphql.engine.rendering import NotCovered

MAX_DOCUMENTS = 1_000
"""Documents that are remembered."""
MAX_CHARACTERS = 2_000_000
"""Characters of all remembered documents together; a parsed one takes some 100 times that in bytes."""


D = TypeVar("D", bound="Document | None")


class Document:
    """A document that is valid against the schema; `slots`: where its literals are, if they were lifted."""

    def __init__(self, schema: GraphQLSchema, ast: DocumentNode, slots: Slots | None = None) -> None:
        self._schema = schema
        self.ast = ast
        self._slots = slots or {}
        self._operations = {
            node.name.value if node.name else "": node
            for node in ast.definitions
            if isinstance(node, OperationDefinitionNode)
        }
        self._plans: dict[str, Plan | None] = {}

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """The operation `name`, or the only one. Raises RequestRefused when that is not determined."""
        if name:
            if name in self._operations:
                return self._operations[name]
            raise RequestRefused([plain(f"unknown operation named '{name}'", BAD_USER_INPUT)])
        if len(self._operations) != 1:
            message = (
                "operationName must say which of the operations to execute" if self._operations else "no operation"
            )
            raise RequestRefused([plain(message, BAD_USER_INPUT)])
        return next(iter(self._operations.values()))

    def plan(self, operation: OperationDefinitionNode) -> Plan | None:
        """How an operation is executed, if not by graphql-core."""
        name = operation.name.value if operation.name else ""
        if name not in self._plans:
            try:
                self._plans[name] = Plan(self._schema, self.ast, operation, self._slots)
            except NotCovered:
                self._plans[name] = None
        return self._plans[name]


class Documents:
    """A bounded cache of valid documents; the one unused for longest makes room."""

    def __init__(
        self, schema: GraphQLSchema, *, documents: int = MAX_DOCUMENTS, characters: int = MAX_CHARACTERS
    ) -> None:
        self._schema = schema
        self._max_documents = documents
        self._max_characters = characters
        self._characters = 0
        # By source, and where literals were lifted, by template: None for one whose literals must stay.
        self._kept: OrderedDict[str, Document | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, source: str) -> tuple[Document, Sequence[Literal]]:
        """The document and its lifted literals. Raises RequestRefused with what is wrong with it."""
        if document := self._find(source):
            return document, ()
        lifted = lift(source) if len(source) <= MAX_LENGTH else None
        if lifted is None:
            return self._keep(source, Document(self._schema, self._read(source))), ()
        template, literals = lifted
        if document := self._find(template):
            return document, literals
        ast = self._read(source)
        slots = None if template in self._kept else slots_of(self._schema, ast, places(source))
        if slots is None:
            self._keep(template, None)
            return self._keep(source, Document(self._schema, ast)), ()
        return self._keep(template, Document(self._schema, ast, slots)), literals

    def _find(self, key: str) -> Document | None:
        document = self._kept.get(key)
        if document is not None:
            self._kept.move_to_end(key)
        return document

    def _read(self, source: str) -> DocumentNode:
        ast = parsed(source)
        too_large = limit_error(ast)
        errors: list[GraphQLError] = [too_large] if too_large else validate(self._schema, ast, max_errors=20)
        if errors:
            raise RequestRefused([format_error(error, GRAPHQL_VALIDATION_FAILED) for error in errors])
        return ast

    def _keep(self, key: str, document: D) -> D:
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._characters += len(key)
        self._kept[key] = document
        while len(self._kept) > self._max_documents or self._characters > self._max_characters:
            oldest, _ = self._kept.popitem(last=False)
            self._characters -= len(oldest)
        return document


def parsed(source: str) -> DocumentNode:
    """The document's syntax tree. Raises RequestRefused."""
    try:
        return parse(source, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS, max_source_length=MAX_LENGTH)
    except GraphQLSyntaxError as error:
        raise RequestRefused([format_error(error, GRAPHQL_PARSE_FAILED)]) from error
    except RecursionError as error:
        raise RequestRefused([plain("the document is nested too deeply", GRAPHQL_PARSE_FAILED)]) from error
