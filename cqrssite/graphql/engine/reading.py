"""A document read by graphql-core: parsed and validated, giving way to others in between."""

from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Lexer,
    NameNode,
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
    GRAPHQL_PARSE_FAILED,
    GRAPHQL_VALIDATION_FAILED,
    RequestRefused,
    format_error,
    plain,
)
from cqrssite.graphql.engine.limits import MAX_COMMENTS, MAX_LENGTH, MAX_TOKENS, TooCostly, check_text
from cqrssite.graphql.engine.slices import breathe

MAX_ERRORS = 20
"""Errors that validation finds before it ends."""

# The second bound on what validation compares, beside limits.MAX_COMPARISONS: graphql-core meters its own work. Two
# units are one pair of fields.
overlapping.MAX_COMPLEXITY_BUDGET = 6_000


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
