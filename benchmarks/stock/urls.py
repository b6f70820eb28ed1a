"""Where the stock project serves GraphQL."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from graphene_django.views import GraphQLView


def health(_request: HttpRequest) -> HttpResponse:
    """Says that it is up."""
    return HttpResponse("up")


urlpatterns = [path("graphql", csrf_exempt(GraphQLView.as_view())), path("", health)]
