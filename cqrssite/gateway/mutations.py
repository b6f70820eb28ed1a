"""Writes: checked, journaled, answered. They take effect later, and the ring tells how that went."""

from typing import Any

import graphene

from contacts_read.errors import ReadError
from contacts_write import commands
from protocol.contact_write_pb2 import Command
from protocol.rules import id_error

from .context import Context, Info
from .queries import checked, not_found
from .types import Answer, RequestResponse

READ_SECONDS = 0.5
"""How long the reader may take to say whether a contact exists; after that the database decides."""

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

    async def resolve_add_contact(_root: Any, info: Info, name_: str, command_id: str | None = None) -> Answer:
        context: Context = info.context
        command = commands.add(name_, command_id=command_id, actor=await context.actor())
        return await _accept(context, command, "Queued to add")

    async def resolve_update_contact(
        _root: Any,
        info: Info,
        id: str,
        name_: str,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> Answer:
        context: Context = info.context
        command = commands.update(
            id, name_, expected_version=expected_version, command_id=command_id, actor=await context.actor()
        )
        await _check_exists(context, id, command_id)
        return await _accept(context, command, "Queued to update")

    async def resolve_delete_contact(
        _root: Any,
        info: Info,
        id: str,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> Answer:
        context: Context = info.context
        command = commands.delete(
            id, expected_version=expected_version, command_id=command_id, actor=await context.actor()
        )
        await _check_exists(context, id, command_id)
        return await _accept(context, command, "Queued to delete")

    async def resolve_cancel_command(_root: Any, info: Info, id: str) -> Answer:
        checked(id_error(id))
        context: Context = info.context
        cancelled = await context.services.journal.cancel(id, actor=await context.actor())
        return Answer("Queued to cancel", cancelled.command_id, cancelled.contact_id, cancelled.takes_effect_at)


async def _check_exists(context: Context, contact_id: str, command_id: str | None) -> None:
    """Raises NotFound when the contact is neither pending nor stored.

    The journal is asked first: a contact whose command settles between the two questions is seen by the second.
    """
    services = context.services
    # A repeated command gets its first answer, though the contact may be gone since: it may have deleted it itself.
    if command_id is not None and await services.journal.find(command_id) is not None:
        return
    if await services.journal.is_pending(contact_id):
        return
    try:
        contact = await services.reader.get_contact(contact_id, timeout=READ_SECONDS)
    except ReadError:
        # Nobody to ask. The command is as good as one that was valid when it was sent: the database decides.
        return
    if contact is None:
        raise not_found(contact_id)


async def _accept(context: Context, command: Command, message: str) -> Answer:
    """The one place where commands enter the journal; consecutive mutations of a document could be gathered here."""
    (accepted,) = await context.services.journal.accept([command])
    contact_id: str | None = accepted.contact_id
    if command.HasField("add") and context.services.feed.state == "missing":
        # The database may be a foreign one, which gives each contact an id of its own.
        contact_id = None
    return Answer(message, accepted.command_id, contact_id, accepted.takes_effect_at)
