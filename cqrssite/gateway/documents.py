"""Documents parsed and validated once, then remembered: most clients send the same few."""

from collections import OrderedDict
from typing import NamedTuple

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
    validate,
)

from .errors import BAD_USER_INPUT, GRAPHQL_PARSE_FAILED, GRAPHQL_VALIDATION_FAILED, RequestRefused, format_error, plain
from .limits import MAX_COMMENTS, MAX_LENGTH, MAX_TOKENS, limit_error

MAX_DOCUMENTS = 1_000
"""Documents that are remembered."""
MAX_CHARACTERS = 2_000_000
"""Characters of all remembered documents together; a parsed one takes some 100 times that in bytes."""


class Document(NamedTuple):
    """A document that is valid against the schema."""

    ast: DocumentNode
    operations: dict[str, OperationType]
    """What each operation is, by its name; the unnamed one by an empty string."""

    def operation_type(self, name: str | None) -> OperationType:
        """What the operation `name`, or the only one, is. Raises RequestRefused when that is not determined."""
        if name:
            if name in self.operations:
                return self.operations[name]
            raise RequestRefused([plain(f"unknown operation named '{name}'", BAD_USER_INPUT)])
        if len(self.operations) != 1:
            message = "operationName must say which of the operations to execute" if self.operations else "no operation"
            raise RequestRefused([plain(message, BAD_USER_INPUT)])
        return next(iter(self.operations.values()))


class Documents:
    """A bounded cache of valid documents; the one unused for longest makes room."""

    def __init__(
        self, schema: GraphQLSchema, *, documents: int = MAX_DOCUMENTS, characters: int = MAX_CHARACTERS
    ) -> None:
        self._schema = schema
        self._max_documents = documents
        self._max_characters = characters
        self._characters = 0
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, source: str) -> Document:
        """The document, parsed and validated. Raises RequestRefused with what is wrong with it."""
        document = self._kept.get(source)
        if document is not None:
            self._kept.move_to_end(source)
            return document
        document = self._read(source)
        self._keep(source, document)
        return document

    def _read(self, source: str) -> Document:
        try:
            ast = parse(source, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS, max_source_length=MAX_LENGTH)
        except GraphQLSyntaxError as error:
            raise RequestRefused([format_error(error, GRAPHQL_PARSE_FAILED)]) from error
        except RecursionError as error:
            raise RequestRefused([plain("the document is nested too deeply", GRAPHQL_PARSE_FAILED)]) from error
        too_large = limit_error(ast)
        errors: list[GraphQLError] = [too_large] if too_large else validate(self._schema, ast, max_errors=20)
        if errors:
            raise RequestRefused([format_error(error, GRAPHQL_VALIDATION_FAILED) for error in errors])
        operations = {
            definition.name.value if definition.name else "": definition.operation
            for definition in ast.definitions
            if isinstance(definition, OperationDefinitionNode)
        }
        return Document(ast, operations)

    def _keep(self, source: str, document: Document) -> None:
        self._kept[source] = document
        self._characters += len(source)
        while len(self._kept) > self._max_documents or self._characters > self._max_characters:
            oldest, _ = self._kept.popitem(last=False)
            self._characters -= len(oldest)
