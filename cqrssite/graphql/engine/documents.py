"""Documents parsed, validated and compiled once, then remembered: most clients send the same few."""

import asyncio
from collections.abc import Hashable, Sequence
from hashlib import blake2b

from graphql import (
    DocumentNode,
    GraphQLSchema,
    OperationDefinitionNode,
)

from cqrssite.graphql.engine.answers import widths_of
from cqrssite.graphql.engine.errors import (
    BAD_USER_INPUT,
    GRAPHQL_VALIDATION_FAILED,
    Formatted,
    RequestRefused,
    format_error,
    plain,
)
from cqrssite.graphql.engine.limits import MAX_LENGTH, Limits, TooCostly
from cqrssite.graphql.engine.literals import Literal, lift, places
from cqrssite.graphql.engine.plan import Plan, Slots, slots_of
from cqrssite.graphql.engine.reading import parsed, validated
from cqrssite.graphql.engine.rendering import NotCovered
from cqrssite.graphql.engine.sized_cache import SizedCache
from cqrssite.graphql.engine.slices import Slices

MAX_BYTES = 24 * 1024 * 1024
"""Bytes of all remembered documents together, as far as they can be estimated."""
BYTES_A_CHARACTER = 250
"""Bytes of a document that is parsed and compiled, for each of its characters; densely written ones take the most."""
BYTES_A_DOCUMENT = 5_000
"""And beside these."""
MAX_REFUSED = 1024 * 1024
"""Bytes of all remembered refusals together."""

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
        self._widths: dict[str, dict[str, int]] = {}

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

    def widths(self, operation: OperationDefinitionNode) -> dict[str, int]:
        """How many values a row has of each field at the top of an operation, by their names in the response."""
        name = operation.name.value if operation.name else ""
        if name not in self._widths:
            self._widths[name] = widths_of(self.ast, operation)
        return self._widths[name]

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

    def __init__(self, schema: GraphQLSchema, slices: Slices | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._schema = schema
        self._limits = Limits(schema)
        self._slices = slices or Slices()
        self._reading: dict[str, asyncio.Event] = {}
        self._kept: SizedCache[Document | _Unlifted] = SizedCache(max_bytes)
        self._refused: SizedCache[list[Formatted]] = SizedCache(MAX_REFUSED)

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, source: str) -> Found | None:
        """A document that is remembered. Raises RequestRefused with what was wrong with it."""
        document = self._kept.get(source)
        if type(document) is Document:
            return document, ()
        lifted = lift(source) if len(source) <= MAX_LENGTH else None
        if lifted:
            document = self._kept.get(lifted.template)
            if type(document) is Document:
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
