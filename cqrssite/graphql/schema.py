"""The schema, assembled from what is declared. Its text is kept in schema.graphql; SDL_COMMAND writes it anew."""

from functools import cache
from pathlib import Path
from typing import Any

import graphene

from cqrs.aggregate import registry
from cqrs.query.errors import SubscriberTooSlow
from cqrssite.graphql.aggregate import AggregateSchema
from cqrssite.graphql.engine.executor import Executor
from cqrssite.graphql.errors import FeedEnded, format_exception
from cqrssite.graphql.mutations import cancel_mutation
from cqrssite.graphql.queries import command_query
from cqrssite.graphql.subscriptions import settled_subscription
from cqrssite.graphql.types import Aggregates, any_of, command_type, object_type, response_type
from cqrssite.graphql.writes import WriteResolver, accept_all
from protocol.cqrs_notice_pb2 import Notice

SDL = Path(__file__).with_name("schema.graphql")
SDL_COMMAND = "manage.py graphql_schema"


def schema_of(aggregates: Aggregates) -> Any:
    """The schema of these aggregates."""
    response, command = response_type(aggregates), command_type(aggregates)
    about = f"What became of a command. DELETED carries the last state of the {any_of(aggregates)}."
    names = [name for name in Notice.Kind.keys() if name != "UNKNOWN"]  # noqa: SIM118 - it is no mapping
    kinds = type("NoticeKind", (graphene.Enum,), {"__doc__": about, **{name: name for name in names}})
    parts = [AggregateSchema(each, kinds) for each in aggregates.values()]
    queries: dict[str, Any] = {}
    mutations: dict[str, Any] = {}
    subscriptions: dict[str, Any] = {}
    for part in parts:
        queries |= part.queries()
        mutations |= part.mutations(response)
        subscriptions |= part.subscriptions()
    queries["command"] = command_query(command)
    mutations["cancel_command"] = cancel_mutation(response)
    subscriptions |= settled_subscription(command)
    return graphene.Schema(
        query=object_type("Query", "What can be read.", queries),
        mutation=object_type(
            "Mutation", "What can be changed. Each answers as soon as the command is in the journal.", mutations
        ),
        subscription=object_type("Subscription", "What can be watched, over WebSocket.", subscriptions),
    )


schema = schema_of(registry())


def executor_of(of: Any) -> Executor:
    """An executor of a schema, which knows nothing yet."""
    return Executor(
        of.graphql_schema,
        format_exception=format_exception,
        grouped=WriteResolver,
        group=accept_all,
        event=Notice,
        ends_connection=(SubscriberTooSlow, FeedEnded),
    )


@cache
def executor() -> Executor:
    """The executor of this process."""
    return executor_of(schema)
