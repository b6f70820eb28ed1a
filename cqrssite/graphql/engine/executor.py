"""Requests executed, over any transport: an executor has the schema and the documents that it knows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from inspect import isawaitable
from typing import Any

import orjson
from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationType,
    create_source_event_stream,
    execute,
)

from cqrssite.graphql.engine.answers import Builder, is_long
from cqrssite.graphql.engine.documents import Documents, Found
from cqrssite.graphql.engine.errors import Formatted, RequestRefused, format_error
from cqrssite.graphql.engine.events import EventMemory
from cqrssite.graphql.engine.operation import Operation
from cqrssite.graphql.engine.plan import Call
from cqrssite.graphql.engine.rendering import NotCovered
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.engine.slices import Slices, breathe

MAX_CHARACTERS = 16 * 1024 * 1024
"""Characters of all texts of events that are remembered, some 12,000: clients that resume are as far behind."""

Response = dict[str, Any]
"""A GraphQL response: `data`, and `errors` where there are any."""

Outcomes = dict[str, Any]
"""What root fields returned, or the exceptions that they raised, by their names in the response."""

Resolver = Callable[..., Any]
Group = Callable[[Any, Sequence[tuple[Any, dict[str, Any]]]], Awaitable[Sequence[Any]]]
"""Of a context and resolvers with their arguments: what each returned, up to and with the first exception."""
FormatException = Callable[[BaseException, str], Formatted]
"""Of an exception and the place where it came up: the error as it is sent."""


class Info:
    """What resolvers get to see of graphql-core's GraphQLResolveInfo, be it that or this."""

    __slots__ = ("context",)

    def __init__(self, context: Any) -> None:
        self.context = context


class Executor:
    """Executes requests against a schema.

    format_exception: makes an error of what a resolver raised.
    grouped: the class of those resolvers of mutations that `group` executes in one go, where a document has no others.
    event: the class of events whose answers subscriptions share.
    ends_connection: what a subscription raises that ends the connection, not this operation alone.
    """

    def __init__(
        self,
        graphql_schema: GraphQLSchema,
        *,
        format_exception: FormatException,
        grouped: type,
        group: Group,
        event: type,
        ends_connection: tuple[type[Exception], ...],
    ) -> None:
        self._schema = graphql_schema
        self._format_exception = format_exception
        self._grouped, self._group = grouped, group
        self._event = event
        self._passed_on: tuple[type[Exception], ...] = (*ends_connection, RequestRefused)
        self._slices = Slices()
        self._documents = Documents(graphql_schema, self._slices)
        self._builder = Builder()
        self._texts: EventMemory[str] = EventMemory(MAX_CHARACTERS)

    def find(self, request: GraphQLRequest) -> Operation | None:
        """The operation, if its document is remembered. Raises RequestRefused, as `prepare` does."""
        found = self._documents.find(request.query)
        return None if found is None else self._operation(request, found)

    async def prepare(self, request: GraphQLRequest) -> Operation:
        """Finds the operation, and lets others in where its document is new.

        Raises RequestRefused when the document or the choice in it is wrong.
        """
        operation = self.find(request)
        if operation is None:
            operation = self._operation(request, await self._documents.read(request.query, request.operation_name))
        return operation

    def _operation(self, request: GraphQLRequest, found: Found) -> Operation:
        document, literals = found
        node = document.operation(request.operation_name)
        return Operation(document, node, request.query, literals, request.operation_name, request.variables)

    def execute(self, operation: Operation, context: Any, root: object = None) -> Awaitable[Response]:
        """Executes a query, a mutation, or a subscription's field for the event `root`.

        Raises RequestRefused when it could not begin, for example because of its variables.
        """
        return self._execute(operation, _calls(operation), context, root)

    async def _execute(
        self, operation: Operation, calls: Sequence[Call] | None, context: Any, root: object
    ) -> Response:
        if calls is None:
            return await self.execute_plainly(operation, context, root)
        if len(calls) == 1:
            outcomes: Outcomes = {calls[0].field.name: await _outcome(calls[0], context, root)}
            has_list = calls[0].field.is_list
        else:
            outcomes = await self._outcomes_of(calls, operation.kind, context, root)
            has_list = any(call.field.is_list for call in calls)
        is_answer_long = has_list and _is_answer_long(operation, calls, outcomes)
        try:
            if is_answer_long:
                completed = [(call.field, _result(outcomes, call.field.name)) for call in calls]
                return await self._builder.data(completed, operation.document.widths(operation.node))
            return {
                "data": {call.field.name: call.field.complete(_result(outcomes, call.field.name)) for call in calls}
            }
        except RequestRefused:
            raise
        except Exception:  # noqa: BLE001 - in a resolver, or in completing what it returned
            # graphql-core knows what is to be said.
            return await self.execute_plainly(operation, context, root, outcomes, is_answer_long=is_answer_long)

    async def execute_plainly(
        self,
        operation: Operation,
        context: Any,
        root: object = None,
        outcomes: Outcomes | None = None,
        *,
        is_answer_long: bool = False,
    ) -> Response:
        """The same by graphql-core, from the first to the last step.

        outcomes: what root fields returned or raised already; they are not called again.
        """
        run = partial(
            execute,
            self._schema,
            operation.ast(),
            root,
            context,
            variable_values=operation.variables,
            operation_name=operation.name,
            middleware=None if outcomes is None else [_replay(outcomes)],
        )
        # With what was returned already nothing is awaited: a long answer can be completed in slices.
        result: Any = await self._slices.run(run) if is_answer_long else run()
        if isawaitable(result):
            result = await result
        _refuse_unbegun(result)
        if not result.errors:
            return {"data": result.data}
        return {"errors": [self._formatted(error) for error in result.errors], "data": result.data}

    async def subscribe(self, operation: Operation, context: Any) -> AsyncIterator[str]:
        """A response, as JSON, for each event.

        Raises RequestRefused when it cannot begin or go on, and as they are the exceptions that end the connection.
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
            raise RequestRefused([self._formatted(error) for error in stream.errors or ()])
        calls = _calls(operation)
        field = calls[0].field.number if calls else None
        try:
            async with aclosing(stream) as events:  # type: ignore[type-var]
                async for event in events:
                    shared_as = field if isinstance(event, self._event) else None
                    text = None if shared_as is None else self._texts.get(event, shared_as)
                    if text is None:
                        text = orjson.dumps(await self._execute(operation, calls, context, event)).decode()
                        if shared_as is not None:
                            self._texts.keep(event, text, len(text), shared_as)
                    yield text
        except self._passed_on:
            raise
        except Exception as error:
            # Of any kind: it is answered with its code, and logged when nobody expects it.
            place = f"in subscription {operation.name or ''}"
            raise RequestRefused([self._format_exception(error, place)]) from error

    async def _outcomes_of(self, calls: Sequence[Call], kind: OperationType, context: Any, root: object) -> Outcomes:
        """What the fields returned or raised, by their names in the response: all at once, or a mutation's in turn.

        A mutation ends with the first field that fails, so that the ones behind it have no outcome.
        """
        if kind is not OperationType.MUTATION:
            found = await asyncio.gather(*[_outcome(call, context, root) for call in calls])
            return {call.field.name: outcome for call, outcome in zip(calls, found, strict=True)}
        if all(isinstance(call.field.resolve, self._grouped) for call in calls):
            made = await self._group(context, [(call.field.resolve, call.arguments) for call in calls])
            return {call.field.name: outcome for call, outcome in zip(calls, made, strict=False)}
        outcomes: Outcomes = {}
        for call in calls:
            outcome = outcomes[call.field.name] = await _outcome(call, context, root)
            if isinstance(outcome, Exception):
                break
        return outcomes

    def _formatted(self, error: GraphQLError) -> Formatted:
        """The error as it is sent: GraphQL's own, or with what a resolver raised."""
        cause = error.original_error
        if cause is None or isinstance(cause, GraphQLError):
            return format_error(error)
        place = f"at {'.'.join(map(str, error.path or ()))}"
        return {**error.formatted, **self._format_exception(cause, place)}


def _calls(operation: Operation) -> Sequence[Call] | None:
    """What a plan calls; None: graphql-core is to execute it."""
    plan = operation.document.plan(operation.node)
    try:
        return plan.calls(operation.literals, operation.variables) if plan else None
    except NotCovered:
        return None


def _is_answer_long(operation: Operation, calls: Sequence[Call], outcomes: Outcomes) -> bool:
    for call in calls:
        if call.field.is_list and is_long(
            outcomes.get(call.field.name), operation.document.widths(operation.node)[call.field.name]
        ):
            return True
    return False


def _result(outcomes: Outcomes, name: str) -> Any:
    """What the field returned. Raises what it raised, and KeyError where it was not called."""
    outcome = outcomes[name]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def _outcome(call: Call, context: Any, root: object) -> Any:
    try:
        result = call.field.resolve(root, Info(context), **call.arguments)
        return await result if isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 - graphql-core will say it
        return error


def _replay(outcomes: Outcomes) -> Callable[..., Any]:
    """Middleware of graphql-core: in the place of resolvers, what they returned or raised already."""

    def resolve(resolver: Resolver, root: object, info: GraphQLResolveInfo, **given: Any) -> Any:
        breathe()
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
