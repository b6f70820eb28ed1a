"""Subscriptions: notices from the feed, and the end of one command."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import graphene
from graphene.utils.str_converters import to_camel_case

from cqrs.aggregate import Aggregate
from cqrs.journal.errors import UnknownCommand
from cqrs.journal.models import Command as Row
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.executor import Info
from cqrssite.graphql.errors import FeedEnded
from cqrssite.graphql.queries import checked
from protocol.cqrs_notice_pb2 import Notice
from protocol.rules import id_error

WAIT_SECONDS = 60.0
"""How long one question to the journal waits for a command to be settled."""
PARKED_SECONDS = 1.0
"""How often a parked command is looked at again: the journal says at once that it is parked."""

_ENDS = frozenset(
    {Row.State.APPLIED, Row.State.REJECTED, Row.State.CANCELLED, Row.State.DISCARDED, Row.State.HANDED_OVER}
)


def changes_of(aggregate: Aggregate) -> Callable[..., AsyncIterator[Notice]]:
    """Begins the subscription to the notices of an aggregate."""
    by_id = f"{aggregate.name}_id"
    shown_as = f"{to_camel_case(aggregate.name)}Id"

    def subscribe(
        _root: Any,
        info: Info,
        /,
        command_id: str | None = None,
        after_position: str | None = None,
        **arguments: str | None,
    ) -> AsyncIterator[Notice]:
        aggregate_id = arguments.get(by_id)
        for value, what in ((aggregate_id, shown_as), (command_id, "commandId")):
            checked(id_error(value, what) if value is not None else None)
        context: Context = info.context
        # Subscribed here, not when it is first asked for a notice: none of those in between is missed.
        return _chosen(context.services.feed.subscribe(after_position), aggregate.name, aggregate_id, command_id)

    return subscribe


async def _chosen(
    notices: AsyncGenerator[Notice], aggregate: str, aggregate_id: str | None, command_id: str | None
) -> AsyncIterator[Notice]:
    async with aclosing(notices):
        async for notice in notices:
            if notice.aggregate != aggregate or (aggregate_id is not None and notice.aggregate_id != aggregate_id):
                continue
            if command_id is not None and notice.command_id != command_id:
                continue
            yield notice
    raise FeedEnded("the gateway stops")


async def _subscribe_settled(_root: Any, info: Info, /, id: str) -> AsyncIterator[Row]:
    checked(id_error(id))
    context: Context = info.context
    command = await context.services.journal.find(id)
    if command is None:
        raise UnknownCommand(f"command {id} is not known")
    return _settled(context, command)


async def _settled(context: Context, command: Row) -> AsyncIterator[Row]:
    while command.state not in _ENDS:
        if command.state == Row.State.PARKED:
            await asyncio.sleep(PARKED_SECONDS)
        try:
            command = await context.services.journal.settled(command.command_id, WAIT_SECONDS)
        except TimeoutError:
            continue
    yield command


def settled_subscription(command: Any) -> dict[str, Any]:
    """commandSettled, and the function that begins it. command: the type of a command."""
    settled = graphene.Field(
        command,
        args={"id": graphene.String(required=True, description="The commandId that the mutation answered.")},
        required=True,
        description="The command, once, when it is settled; at once when it is already.",
    )
    return {"command_settled": settled, "subscribe_command_settled": _subscribe_settled}
