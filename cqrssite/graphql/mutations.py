"""Writes: checked, journaled, answered. They take effect later, and the ring tells how that went."""

from collections.abc import Awaitable
from typing import Any

import graphene

from cqrssite.graphql.context import Context, Info
from cqrssite.graphql.queries import checked
from cqrssite.graphql.types import Answer, RequestResponse
from cqrssite.graphql.writes import Make, accept, add_contact, delete_contact, update_contact
from protocol.rules import id_error

_COMMAND_ID = (
    "An idempotency key: sent again with the same arguments, the command takes effect once and the answer is the same."
)
_EXPECTED_VERSION = "Reject the command (CONFLICT) unless the contact has this version then."


class Mutation(graphene.ObjectType):
    """What can be changed. Each answers as soon as the command is in the journal."""

    add_contact = graphene.Field(
        RequestResponse,
        required=True,
        name_=graphene.Argument(
            graphene.String, name="name", required=True, description="1 to 200 characters, once trimmed."
        ),
        command_id=graphene.String(description=_COMMAND_ID),
        description="Adds a contact.",
    )
    update_contact = graphene.Field(
        RequestResponse,
        required=True,
        id=graphene.String(required=True),
        name_=graphene.Argument(
            graphene.String, name="name", required=True, description="1 to 200 characters, once trimmed."
        ),
        expected_version=graphene.Int(description=_EXPECTED_VERSION),
        command_id=graphene.String(description=_COMMAND_ID),
        description="Gives a contact another name.",
    )
    delete_contact = graphene.Field(
        RequestResponse,
        required=True,
        id=graphene.String(required=True),
        expected_version=graphene.Int(description=_EXPECTED_VERSION),
        command_id=graphene.String(description=_COMMAND_ID),
        description="Deletes a contact.",
    )
    cancel_command = graphene.Field(
        RequestResponse,
        required=True,
        id=graphene.String(required=True, description="The commandId that the mutation answered."),
        description="Withdraws a command, unless it has taken effect already by the time this arrives.",
    )

    def resolve_add_contact(_root: Any, info: Info, **arguments: Any) -> Awaitable[Answer]:
        return _accept(info.context, add_contact, arguments)

    def resolve_update_contact(_root: Any, info: Info, **arguments: Any) -> Awaitable[Answer]:
        return _accept(info.context, update_contact, arguments)

    def resolve_delete_contact(_root: Any, info: Info, **arguments: Any) -> Awaitable[Answer]:
        return _accept(info.context, delete_contact, arguments)

    async def resolve_cancel_command(_root: Any, info: Info, id: str) -> Answer:
        checked(id_error(id))
        context: Context = info.context
        cancelled = await context.services.journal.cancel(id, actor=await context.actor())
        return Answer("Queued to cancel", *cancelled)


async def _accept(context: Context, make: Make, arguments: dict[str, Any]) -> Answer:
    return await accept(context, make(await context.actor(), **arguments))
