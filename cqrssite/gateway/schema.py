"""The schema, assembled. Its text is kept in schema.graphql; SDL_COMMAND writes it anew."""

from pathlib import Path

import graphene

from .mutations import Mutation
from .queries import Query
from .subscriptions import Subscription

SDL = Path(__file__).with_name("schema.graphql")
SDL_COMMAND = "manage.py graphql_schema"

schema = graphene.Schema(query=Query, mutation=Mutation, subscription=Subscription)
