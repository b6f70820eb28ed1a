"""Reads: aggregates through the reader, commands from the journal."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import graphene

from cqrs.aggregate import Aggregate
from cqrs.journal.models import Command as Row
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.executor import Info
from cqrssite.graphql.errors import BadInput, Conflict, NotFound, Unavailable
from protocol.rules import count_error, id_error

AFTER_COMMAND = "Wait until this command is settled, so that its effect is seen."


def checked(error: str | None) -> None:
    """Raises BadInput with the sentence, if there is one."""
    if error:
        raise BadInput(error)


async def settled(context: Context, command_id: str) -> None:
    """Returns when the command is settled.

    Raises NotFound, Conflict (it is parked, and nobody knows for how long) or Unavailable (it takes longer than
    `settle_seconds`, or its outcome is never known here).
    """
    checked(id_error(command_id, "afterCommand"))
    try:
        command = await context.services.journal.settled(command_id, context.settle_seconds)
    except TimeoutError:
        raise Unavailable(
            f"command {command_id} is not settled within {context.settle_seconds:g} s; ask again"
        ) from None
    if command.state == Row.State.PARKED:
        raise Conflict(f"command {command_id} is parked: {command.message}")
    if command.state == Row.State.HANDED_OVER:
        raise Unavailable(f"command {command_id} was handed over to parts that do not tell what becomes of it")


def one_of(aggregate: Aggregate) -> Callable[..., Awaitable[Any]]:
    """The resolver of the query of one."""

    async def resolve(_root: Any, info: Info, /, id: str, after_command: str | None = None) -> Any:
        checked(id_error(id))
        context: Context = info.context
        if after_command is not None:
            await settled(context, after_command)
        state = await context.services.reader.get(aggregate.name, id)
        if state is None:
            raise NotFound(aggregate.missing(id))
        return state

    return resolve


def first_of(aggregate: Aggregate, counted: str) -> Callable[..., Awaitable[Sequence[Any]]]:
    """The resolver of the list. counted: the words for what one operation may list so many of."""

    async def resolve(_root: Any, info: Info, /, count: int, after_command: str | None = None) -> Sequence[Any]:
        checked(count_error(count))
        context: Context = info.context
        context.spend(count, counted)
        if after_command is not None:
            await settled(context, after_command)
        return await context.services.reader.first(aggregate.name, count)

    return resolve


async def _find_command(_root: Any, info: Info, /, id: str) -> Row | None:
    checked(id_error(id))
    context: Context = info.context
    return await context.services.journal.find(id)


def command_query(command: Any) -> Any:
    """The query of a command. command: its type."""
    return graphene.Field(
        command,
        args={"id": graphene.String(required=True, description="The commandId that the mutation answered.")},
        resolver=_find_command,
        description="A command and what became of it; null when the journal does not know it (any more).",
    )
