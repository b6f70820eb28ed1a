"""The contract's schema on graphene-django and the ORM."""

from typing import Any

import graphene
from django.db.models import QuerySet
from graphene_django import DjangoObjectType

from benchmarks.stock import models


class Contact(DjangoObjectType):
    class Meta:
        model = models.Contact
        fields = ["id", "name"]

    id = graphene.String()
    last_updated = graphene.DateTime(name="last_updated")


class RequestResponse(graphene.ObjectType):
    status = graphene.String(required=True)
    message = graphene.String(required=True)


class Query(graphene.ObjectType):
    contact = graphene.Field(Contact, id=graphene.String(required=True))
    list_contacts = graphene.List(Contact, count=graphene.Int(required=True))

    def resolve_contact(self, _info: Any, id: str) -> models.Contact:
        return models.Contact.objects.get(pk=id)

    def resolve_list_contacts(self, _info: Any, count: int) -> QuerySet[models.Contact]:
        return models.Contact.objects.order_by("created")[:count]


class Mutation(graphene.ObjectType):
    add_contact = graphene.Field(RequestResponse, required=True, name=graphene.String(required=True))

    def resolve_add_contact(self, _info: Any, name: str) -> RequestResponse:
        models.Contact.objects.create(name=name)
        return RequestResponse(status="OK", message="Added")


schema = graphene.Schema(query=Query, mutation=Mutation)
