"""Documents parsed, validated and compiled once, then remembered: most clients send the same few."""

import asyncio
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Lexer,
    NameNode,
    OperationDefinitionNode,
    ParallelVisitor,
    Source,
    Token,
    TypeInfo,
    TypeInfoVisitor,
    ValidationContext,
    ValueNode,
    Visitor,
    specified_rules,
    visit,
)
from graphql.language.parser import Parser
from graphql.validation.rules import overlapping_fields_can_be_merged as overlapping
from graphql.validation.validate import ValidationAbortedError
from graphql.validation.validation_context import NodeWithSelectionSet, VariableUsage, VariableUsageVisitor

from cqrssite.graphql.engine.errors import (
    BAD_USER_INPUT,
    GRAPHQL_PARSE_FAILED,
    GRAPHQL_VALIDATION_FAILED,
    Formatted,
    RequestRefused,
    format_error,
    plain,
)
from cqrssite.graphql.engine.limits import MAX_COMMENTS, MAX_LENGTH, MAX_TOKENS, Limits, TooCostly, check_text
from cqrssite.graphql.engine.literals import Literal, lift, places
from cqrssite.graphql.engine.plan import Plan, Slots, slots_of
from cqrssite.graphql.engine.rendering import NotCovered
from cqrssite.graphql.engine.sized_cache import SizedCache
from cqrssite.graphql.engine.slices import Slices, breathe

MAX_BYTES = 24 * 1024 * 1024
"""Bytes of all remembered documents together, as far as they can be estimated."""
BYTES_A_CHARACTER = 250
"""Bytes of a document that is parsed and compiled, for each of its characters; densely written ones take the most."""
BYTES_A_DOCUMENT = 5_000
"""And beside these."""
MAX_REFUSED = 1024 * 1024
"""Bytes of all remembered refusals together."""
MAX_ERRORS = 20
"""Errors that validation finds before it ends."""

# The second bound on what validation compares, beside limits.MAX_COMPARISONS: graphql-core meters its own work. Two
# units are one pair of fields.
overlapping.MAX_COMPLEXITY_BUDGET = 6_000

Found = tuple["Document", Sequence[Literal]]


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
    """Documents by their source or, where literals were lifted, by their template; and what was refused.

    max_bytes: of all documents that are remembered; the one unused for longest makes room.
    """

    def __init__(self, schema: GraphQLSchema, *, max_bytes: int = MAX_BYTES) -> None:
        self._schema = schema
        self._limits = Limits(schema)
        self._slices = Slices()
        self._reading: dict[str, asyncio.Event] = {}
        self._kept: SizedCache[Document | _Unlifted] = SizedCache(max_bytes)
        self._refused: SizedCache[list[Formatted]] = SizedCache(MAX_REFUSED)

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, source: str) -> Found | None:
        """A document that is remembered. Raises RequestRefused with what was wrong with it."""
        if isinstance(document := self._kept.get(source), Document):
            return document, ()
        lifted = lift(source) if len(source) <= MAX_LENGTH else None
        if lifted and isinstance(document := self._kept.get(lifted.template), Document):
            return document, lifted.literals
        errors = self._refused.get(_digest(source))
        if errors is None and lifted:
            errors = self._refused.get(_digest(lifted.template))
        if errors is not None:
            raise RequestRefused(errors)
        return None

    async def read(self, source: str, operation_name: str | None = None) -> Found:
        """A document that is not remembered, read in slices of the loop. Raises RequestRefused.

        operation_name: the operation to compile as well.
        """
        lifted = lift(source) if len(source) <= MAX_LENGTH else None
        key = lifted.template if lifted else source
        while key in self._reading:
            # Another request reads the same: one of two would be compiled for nothing.
            await self._reading[key].wait()
            if found := self.find(source):
                return found
        read = self._reading[key] = asyncio.Event()
        try:
            return await self._slices.run(lambda: self._compiled(source, operation_name), len(source))
        finally:
            del self._reading[key]
            read.set()

    def _compiled(self, source: str, operation_name: str | None) -> Found:
        document, literals = self.get(source)
        document.plan(document.operation(operation_name))
        return document, literals

    def get(self, source: str) -> Found:
        """The document and its lifted literals. Raises RequestRefused with what is wrong with it."""
        found = self.find(source)
        if found is not None:
            return found
        try:
            return self._read(source)
        except RequestRefused as refused:
            size = BYTES_A_DOCUMENT + sum(len(error["message"]) for error in refused.errors)
            lifted = lift(source) if isinstance(refused.__cause__, TooCostly) else None
            # Whatever its literals are, it is as costly.
            self._refused.keep(_digest(lifted.template if lifted else source), refused.errors, size)
            raise

    def _read(self, source: str) -> Found:
        lifted = lift(source) if len(source) <= MAX_LENGTH else None
        ast = parsed(source)
        self._validate(ast)
        if lifted is None:
            return self._keep(source, Document(self._schema, ast)), ()
        template, literals = lifted
        slots = None if self._kept.get(template) else slots_of(self._schema, ast, places(source))
        if slots is None:
            self._kept.keep(template, _Unlifted(), _size_of(template))
            return self._keep(source, Document(self._schema, ast)), ()
        return self._keep(template, Document(self._schema, ast, slots)), literals

    def _validate(self, ast: DocumentNode) -> None:
        try:
            self._limits.check(ast)
            errors = validated(self._schema, ast)
        except TooCostly as error:
            raise RequestRefused([format_error(error, GRAPHQL_VALIDATION_FAILED)]) from error
        if errors:
            raise RequestRefused([format_error(error, GRAPHQL_VALIDATION_FAILED) for error in errors])

    def _keep(self, key: str, document: Document) -> Document:
        self._kept.keep(key, document, _size_of(key))
        return document


class _Unlifted:
    """Stands for a template whose literals must stay where they are."""


def _size_of(key: str) -> int:
    return BYTES_A_DOCUMENT + BYTES_A_CHARACTER * len(key)


def _digest(source: str) -> Hashable:
    return blake2b(source.encode(errors="surrogatepass")).digest()


def parsed(source: str) -> DocumentNode:
    """The document's syntax tree. Raises RequestRefused."""
    if len(source) > MAX_LENGTH:
        message = f"the document is too large: {len(source)} characters, at most {MAX_LENGTH} are answered"
        raise RequestRefused([plain(message, GRAPHQL_PARSE_FAILED)])
    lexer, tree = Lexer(Source(source)), None
    try:
        check_text(source)
        parser = _Parser(lexer.source, lexer=lexer, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS)
        tree = parser.parse_document()
        return tree
    except TooCostly as error:
        raise RequestRefused([format_error(error, GRAPHQL_VALIDATION_FAILED)]) from error
    except GraphQLSyntaxError as error:
        raise RequestRefused([format_error(error, GRAPHQL_PARSE_FAILED)]) from error
    except RecursionError as error:
        raise RequestRefused([plain("the document is nested too deeply", GRAPHQL_PARSE_FAILED)]) from error
    finally:
        _break_circles(lexer, tree)


def _break_circles(lexer: Lexer, tree: DocumentNode | None) -> None:
    """Takes tokens out of the list that they form, and has definitions known by their identity.

    The list would keep the tree in memory until a full collection, which such trees make long. Rules look definitions
    up, by a hash that would be made of all that is in them.
    """
    token: Token | None = lexer.token
    while token:
        before = token.prev
        token.prev = token.next = None
        token = before
    for definition in tree.definitions if tree else ():
        definition._hash = id(definition)  # noqa: SLF001 - there is no other way


def validated(schema: GraphQLSchema, tree: DocumentNode) -> list[GraphQLError]:
    """What is wrong with the document by the rules of GraphQL: graphql-core's `validate`, giving way to others.

    Its visitors are emptied afterwards: each is part of a circle, and holds the tree.
    """
    errors: list[GraphQLError] = []

    def add(error: GraphQLError) -> None:
        errors.append(error)
        if len(errors) >= MAX_ERRORS:
            raise ValidationAbortedError("Too many validation errors. Validation aborted.")

    types = TypeInfo(schema)
    context = _Context(schema, tree, types, add)
    visitors: list[Visitor] = [rule(context) for rule in (*specified_rules, _Breathing)]
    try:
        visit(tree, TypeInfoVisitor(types, ParallelVisitor(visitors)))
    except ValidationAbortedError as error:
        errors.append(error)
    except RecursionError:
        errors.append(GraphQLError("the document is nested too deeply"))
    finally:
        for visitor in visitors:
            vars(visitor).clear()
    return errors


class _Parser(Parser):
    """graphql-core's, giving way to others."""

    def parse_name(self) -> NameNode:
        breathe()
        return super().parse_name()

    def parse_value_literal(self, is_const: bool) -> ValueNode:
        breathe()
        return super().parse_value_literal(is_const)


class _Context(ValidationContext):
    """graphql-core's, giving way to others while it looks for variables."""

    def get_variable_usages(self, node: NodeWithSelectionSet) -> list[VariableUsage]:
        usages = self._variable_usages.get(node)
        if usages is None:
            visitor = _Usages(self._type_info)
            visit(node, TypeInfoVisitor(self._type_info, visitor))
            usages = self._variable_usages[node] = visitor.usages
        return usages


class _Usages(VariableUsageVisitor):
    def enter_field(self, *_node: Any) -> None:
        breathe()


class _Breathing(ASTValidationRule):
    """No rule, but a visitor that gives way to others."""

    def enter(self, *_node: Any) -> None:
        breathe()
