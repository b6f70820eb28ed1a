"""The schema, assembled. Its text is kept in schema.graphql; SDL_COMMAND writes it anew."""

from pathlib import Path

import graphene

from cqrssite.graphql.mutations import Mutation
from cqrssite.graphql.queries import Query
from cqrssite.graphql.subscriptions import Subscription

SDL = Path(__file__).with_name("schema.graphql")
SDL_COMMAND = "manage.py graphql_schema"

schema = graphene.Schema(query=Query, mutation=Mutation, subscription=Subscription)
