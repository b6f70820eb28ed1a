"""The mutation that is about a command, of whatever aggregate."""

from typing import Any

import graphene

from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.executor import Info
from cqrssite.graphql.queries import checked
from cqrssite.graphql.types import Answer
from protocol.rules import id_error


async def _cancel(_root: Any, info: Info, /, id: str) -> Answer:
    checked(id_error(id))
    context: Context = info.context
    cancelled = await context.services.journal.cancel(id, actor=await context.actor())
    return Answer("Queued to cancel", *cancelled)


def cancel_mutation(response: Any) -> Any:
    """cancelCommand. response: the type that it answers."""
    return graphene.Field(
        response,
        args={"id": graphene.String(required=True, description="The commandId that the mutation answered.")},
        resolver=_cancel,
        required=True,
        description="Withdraws a command, unless it has taken effect already by the time this arrives.",
    )
