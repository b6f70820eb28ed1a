"""Reads: contacts through the reader, commands from the journal."""

from collections.abc import Sequence
from typing import Any

import graphene

from cqrs.journal import models
from cqrssite.graphql.context import Context, Info
from cqrssite.graphql.errors import BadInput, Conflict, NotFound, Unavailable
from cqrssite.graphql.types import Command, Contact
from protocol import contact_pb2
from protocol.rules import count_error, id_error

_AFTER_COMMAND = "Wait until this command is settled, so that its effect is seen."


def checked(error: str | None) -> None:
    """Raises BadInput with the sentence, if there is one."""
    if error:
        raise BadInput(error)


def not_found(contact_id: str) -> NotFound:
    """In the words of the Go example."""
    return NotFound(f"user with id {contact_id} not found")


async def settled(context: Context, command_id: str) -> None:
    """Returns when the command is settled.

    Raises NotFound, Conflict (it is parked, and nobody knows for how long) or Unavailable (it takes longer than
    `settle_seconds`, or what becomes of it is not told).
    """
    checked(id_error(command_id, "afterCommand"))
    try:
        command = await context.services.journal.settled(command_id, context.settle_seconds)
    except TimeoutError:
        raise Unavailable(
            f"command {command_id} is not settled within {context.settle_seconds:g} s; ask again"
        ) from None
    if command.state == models.Command.State.PARKED:
        raise Conflict(f"command {command_id} is parked: {command.message}")
    if command.state == models.Command.State.HANDED_OVER:
        raise Unavailable(f"command {command_id} was handed over to parts that do not tell what becomes of it")


class Query(graphene.ObjectType):
    """What can be read."""

    contact = graphene.Field(
        Contact,
        id=graphene.String(required=True, description="The id of the contact."),
        after_command=graphene.String(description=_AFTER_COMMAND),
        description="One contact. A missing one is null, with an error whose code is NOT_FOUND.",
    )
    get_contact = graphene.Field(
        Contact,
        id=graphene.String(required=True, description="The id of the contact."),
        after_command=graphene.String(description=_AFTER_COMMAND),
        description="Another name of contact.",
    )
    list_contacts = graphene.List(
        Contact,
        count=graphene.Int(required=True, description="How many, from 0 to 1000."),
        after_command=graphene.String(description=_AFTER_COMMAND),
        description="The first contacts there are.",
    )
    command = graphene.Field(
        Command,
        id=graphene.String(required=True, description="The commandId that the mutation answered."),
        description="A command and what became of it; null when the journal does not know it (any more).",
    )

    async def resolve_contact(_root: Any, info: Info, id: str, after_command: str | None = None) -> contact_pb2.Contact:
        checked(id_error(id))
        context: Context = info.context
        if after_command is not None:
            await settled(context, after_command)
        contact = await context.services.reader.get_contact(id)
        if contact is None:
            raise not_found(id)
        return contact

    resolve_get_contact = resolve_contact

    async def resolve_list_contacts(
        _root: Any, info: Info, count: int, after_command: str | None = None
    ) -> Sequence[contact_pb2.Contact]:
        checked(count_error(count))
        context: Context = info.context
        context.spend(count)
        if after_command is not None:
            await settled(context, after_command)
        return await context.services.reader.list_contacts(count)

    async def resolve_command(_root: Any, info: Info, id: str) -> models.Command | None:
        checked(id_error(id))
        context: Context = info.context
        return await context.services.journal.find(id)
