"""Requests executed, over any transport: one executor a process, with the schema and the documents it knows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import cache
from inspect import isawaitable
from typing import Any, NamedTuple

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    create_source_event_stream,
    execute,
)

from cqrs.query.errors import SubscriberTooSlow
from cqrssite.graphql.context import Context, Info
from cqrssite.graphql.engine.documents import Document, Documents, parsed
from cqrssite.graphql.engine.literals import Literal
from cqrssite.graphql.engine.payloads import Payloads
from cqrssite.graphql.engine.plan import Call
from cqrssite.graphql.engine.rendering import NotCovered
from cqrssite.graphql.errors import FeedEnded, RequestRefused, format_error, format_exception
from cqrssite.graphql.http.request import GraphQLRequest
from cqrssite.graphql.schema import schema
from cqrssite.graphql.writes import WRITES, accept_all
from protocol.notice_pb2 import Notice

Response = dict[str, Any]
"""A GraphQL response: `data`, and `errors` where there are any."""

Outcomes = dict[str, Any]
"""What root fields returned, or the exceptions that they raised, by their names in the response."""


class Operation(NamedTuple):
    """A request whose document is valid and whose operation is determined."""

    document: Document
    node: OperationDefinitionNode
    source: str
    literals: Sequence[Literal]
    """What was lifted out of the source; with none, the document's tree is that of the source."""
    name: str | None
    variables: dict[str, Any] | None

    @property
    def kind(self) -> OperationType:
        return self.node.operation

    def ast(self) -> DocumentNode:
        """The tree of this very source."""
        return parsed(self.source) if self.literals else self.document.ast


class Executor:
    """Executes requests against a schema."""

    def __init__(self, graphql_schema: GraphQLSchema) -> None:
        self._schema = graphql_schema
        self._documents = Documents(graphql_schema)
        self._payloads = Payloads()

    def prepare(self, request: GraphQLRequest) -> Operation:
        """Finds the operation. Raises RequestRefused when the document or the choice in it is wrong."""
        document, literals = self._documents.get(request.query)
        node = document.operation(request.operation_name)
        return Operation(document, node, request.query, literals, request.operation_name, request.variables)

    def execute(self, operation: Operation, context: Context, root: object = None) -> Awaitable[Response]:
        """Executes a query, a mutation, or a subscription's field for the event `root`.

        Raises RequestRefused when it could not begin, for example because of its variables.
        """
        return self._execute(operation, _calls(operation), context, root)

    async def _execute(
        self, operation: Operation, calls: Sequence[Call] | None, context: Context, root: object
    ) -> Response:
        if calls is None:
            return await self.execute_plainly(operation, context, root)
        if len(calls) == 1:
            outcomes: Outcomes = {calls[0].field.name: await _outcome(calls[0], context, root)}
        else:
            outcomes = await outcomes_of(calls, operation.kind, context, root)
        try:
            return {
                "data": {call.field.name: call.field.complete(_result(outcomes, call.field.name)) for call in calls}
            }
        except Exception:  # noqa: BLE001 - in a resolver, or in completing what it returned
            # graphql-core knows what is to be said.
            return await self.execute_plainly(operation, context, root, outcomes)

    async def execute_plainly(
        self, operation: Operation, context: Context, root: object = None, outcomes: Outcomes | None = None
    ) -> Response:
        """The same by graphql-core, from the first to the last step.

        outcomes: what root fields returned or raised already; they are not called again.
        """
        result = execute(
            self._schema,
            operation.ast(),
            root,
            context,
            variable_values=operation.variables,
            operation_name=operation.name,
            middleware=None if outcomes is None else [_replay(outcomes)],
        )
        if isawaitable(result):
            result = await result
        _refuse_unbegun(result)
        return _response(result)

    async def subscribe(self, operation: Operation, context: Context) -> AsyncIterator[str]:
        """A response, as JSON, for each event. Raises RequestRefused when it cannot begin or go on.

        Raises SubscriberTooSlow and FeedEnded as they are: they end the connection, not this operation alone.
        """
        stream = await create_source_event_stream(
            self._schema,
            operation.ast(),
            None,
            context,
            variable_values=operation.variables,
            operation_name=operation.name,
        )
        if isinstance(stream, ExecutionResult):
            raise RequestRefused([format_error(error) for error in stream.errors or ()])
        calls = _calls(operation)
        field = calls[0].field.number if calls else None
        try:
            async with aclosing(stream) as events:  # type: ignore[type-var]
                async for event in events:
                    payload = None
                    if field is not None and isinstance(event, Notice):
                        payload = self._payloads.get(field, event)
                    if payload is None:
                        payload = orjson.dumps(await self._execute(operation, calls, context, event)).decode()
                        if field is not None and isinstance(event, Notice):
                            self._payloads.keep(field, event, payload)
                    yield payload
        except (SubscriberTooSlow, FeedEnded, RequestRefused):
            raise
        except Exception as error:
            # Of any kind: it is answered with its code, and logged when nobody expects it.
            raise RequestRefused([format_exception(error, f"in subscription {operation.name or ''}")]) from error


@cache
def executor() -> Executor:
    """The executor of this process."""
    return Executor(schema.graphql_schema)


def _calls(operation: Operation) -> Sequence[Call] | None:
    """What a plan calls; None: graphql-core is to execute it."""
    plan = operation.document.plan(operation.node)
    try:
        return plan.calls(operation.literals, operation.variables) if plan else None
    except NotCovered:
        return None


async def outcomes_of(calls: Sequence[Call], kind: OperationType, context: Context, root: object) -> Outcomes:
    """What the fields returned or raised, by their names in the response: all at once, or those of a mutation in turn.

    A mutation ends with the first field that fails, so that the ones behind it have no outcome.
    """
    if kind is not OperationType.MUTATION:
        found = await asyncio.gather(*[_outcome(call, context, root) for call in calls])
        return {call.field.name: outcome for call, outcome in zip(calls, found, strict=True)}
    if all(call.field.field in WRITES for call in calls):
        made = await accept_all(context, [(WRITES[call.field.field], call.arguments) for call in calls])
        return {call.field.name: outcome for call, outcome in zip(calls, made, strict=False)}
    outcomes: Outcomes = {}
    for call in calls:
        outcome = outcomes[call.field.name] = await _outcome(call, context, root)
        if isinstance(outcome, Exception):
            break
    return outcomes


def _result(outcomes: Outcomes, name: str) -> Any:
    """What the field returned. Raises what it raised, and KeyError where it was not called."""
    outcome = outcomes[name]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def _outcome(call: Call, context: Context, root: object) -> Any:
    try:
        result = call.field.resolve(root, Info(context), **call.arguments)
        return await result if isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 - graphql-core will say it
        return error


def _replay(outcomes: Outcomes) -> Callable[..., Any]:
    """Middleware of graphql-core: in the place of resolvers, what they returned or raised already."""

    def resolve(resolver: Callable[..., Any], root: object, info: GraphQLResolveInfo, **given: Any) -> Any:
        if info.path.prev is not None or info.path.key not in outcomes:
            return resolver(root, info, **given)
        outcome = outcomes[str(info.path.key)]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return resolve


def _refuse_unbegun(result: ExecutionResult) -> None:
    """Tells apart what graphql-core does not: an error of a field has a path, one from before execution has none."""
    if result.data is None and result.errors and not any(error.path for error in result.errors):
        raise RequestRefused([format_error(error) for error in result.errors])


def _response(result: ExecutionResult) -> Response:
    if not result.errors:
        return {"data": result.data}
    return {"errors": [format_error(error) for error in result.errors], "data": result.data}
