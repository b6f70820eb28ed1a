"""Requests executed, over any transport: one executor a process, with the schema and the documents it knows."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cache
from inspect import isawaitable
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLSchema,
    OperationType,
    create_source_event_stream,
    execute,
)

from contacts_read.errors import SubscriberTooSlow

from .context import Context
from .documents import Documents
from .errors import FeedEnded, RequestRefused, format_error, format_exception
from .request import GraphQLRequest
from .schema import schema

Response = dict[str, Any]
"""A GraphQL response: `data`, and `errors` where there are any."""


class Operation(NamedTuple):
    """A request whose document is valid and whose operation is determined."""

    ast: DocumentNode
    kind: OperationType
    name: str | None
    variables: dict[str, Any] | None


class Executor:
    """Executes requests against a schema."""

    def __init__(self, graphql_schema: GraphQLSchema) -> None:
        self._schema = graphql_schema
        self._documents = Documents(graphql_schema)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """Finds the operation. Raises RequestRefused when the document or the choice in it is wrong."""
        document = self._documents.get(request.query)
        kind = document.operation_type(request.operation_name)
        return Operation(document.ast, kind, request.operation_name, request.variables)

    async def execute(self, operation: Operation, context: Context, root: object = None) -> Response:
        """Executes a query, a mutation, or a subscription's field for the event `root`.

        Raises RequestRefused when it could not begin, for example because of its variables.
        """
        result = execute(
            self._schema,
            operation.ast,
            root,
            context,
            variable_values=operation.variables,
            operation_name=operation.name,
        )
        if isawaitable(result):
            result = await result
        _refuse_unbegun(result)
        return _response(result)

    async def subscribe(self, operation: Operation, context: Context) -> AsyncIterator[Response]:
        """A response for each event. Raises RequestRefused when it cannot begin or go on.

        Raises SubscriberTooSlow and FeedEnded as they are: they end the connection, not this operation alone.
        """
        stream = await create_source_event_stream(
            self._schema,
            operation.ast,
            None,
            context,
            variable_values=operation.variables,
            operation_name=operation.name,
        )
        if isinstance(stream, ExecutionResult):
            raise RequestRefused([format_error(error) for error in stream.errors or ()])
        try:
            async with aclosing(stream) as events:  # type: ignore[type-var]
                async for event in events:
                    yield await self.execute(operation, context, event)
        except (SubscriberTooSlow, FeedEnded, RequestRefused):
            raise
        except Exception as error:
            # Of any kind: it is answered with its code, and logged when nobody expects it.
            raise RequestRefused([format_exception(error, f"in subscription {operation.name or ''}")]) from error


@cache
def executor() -> Executor:
    """The executor of this process."""
    return Executor(schema.graphql_schema)


def _refuse_unbegun(result: ExecutionResult) -> None:
    """Tells apart what graphql-core does not: an error of a field has a path, one from before execution has none."""
    if result.data is None and result.errors and not any(error.path for error in result.errors):
        raise RequestRefused([format_error(error) for error in result.errors])


def _response(result: ExecutionResult) -> Response:
    if not result.errors:
        return {"data": result.data}
    return {"errors": [format_error(error) for error in result.errors], "data": result.data}
