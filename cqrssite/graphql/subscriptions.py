"""What is told as it happens: notices from the feed, and the end of one command."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import graphene

from cqrs.journal import models
from cqrs.journal.errors import UnknownCommand
from cqrssite.graphql.context import Context, Info
from cqrssite.graphql.errors import FeedEnded
from cqrssite.graphql.queries import checked
from cqrssite.graphql.types import Command, ContactNotice
from protocol.notice_pb2 import Notice
from protocol.rules import id_error

WAIT_SECONDS = 60.0
"""How long one question to the journal waits for a command to be settled."""
PARKED_SECONDS = 1.0
"""How often a parked command is looked at again: the journal says at once that it is parked."""

_ENDS = frozenset(
    {
        models.Command.State.APPLIED,
        models.Command.State.REJECTED,
        models.Command.State.CANCELLED,
        models.Command.State.DISCARDED,
        models.Command.State.HANDED_OVER,
    }
)


class Subscription(graphene.ObjectType):
    """What can be watched, over WebSocket."""

    contact_changed = graphene.Field(
        ContactNotice,
        required=True,
        contact_id=graphene.String(description="Only notices about this contact."),
        command_id=graphene.String(description="Only notices about this command."),
        after_position=graphene.String(
            description='First all that came after this position ("0": from the beginning), then on as it comes.'
        ),
        description="Every commit and rejection, in order, once.",
    )
    command_settled = graphene.Field(
        Command,
        required=True,
        id=graphene.String(required=True, description="The commandId that the mutation answered."),
        description="The command, once, when it is settled; at once when it is already.",
    )

    def subscribe_contact_changed(
        _root: Any,
        info: Info,
        contact_id: str | None = None,
        command_id: str | None = None,
        after_position: str | None = None,
    ) -> AsyncIterator[Notice]:
        for value, what in ((contact_id, "contactId"), (command_id, "commandId")):
            checked(id_error(value, what) if value is not None else None)
        context: Context = info.context
        # Subscribed here, not when it is first asked for a notice: none of those in between is missed.
        return _chosen(context.services.feed.subscribe(after_position), contact_id, command_id)

    async def subscribe_command_settled(_root: Any, info: Info, id: str) -> AsyncIterator[models.Command]:
        checked(id_error(id))
        context: Context = info.context
        command = await context.services.journal.find(id)
        if command is None:
            raise UnknownCommand(f"command {id} is not known")
        return _settled(context, command)


async def _chosen(
    notices: AsyncGenerator[Notice], contact_id: str | None, command_id: str | None
) -> AsyncIterator[Notice]:
    async with aclosing(notices):
        async for notice in notices:
            if contact_id is not None and notice.contact_id != contact_id:
                continue
            if command_id is not None and notice.command_id != command_id:
                continue
            yield notice
    raise FeedEnded("the gateway stops")


async def _settled(context: Context, command: models.Command) -> AsyncIterator[models.Command]:
    while command.state not in _ENDS:
        if command.state == models.Command.State.PARKED:
            await asyncio.sleep(PARKED_SECONDS)
        try:
            command = await context.services.journal.settled(command.command_id, WAIT_SECONDS)
        except TimeoutError:
            continue
    yield command
