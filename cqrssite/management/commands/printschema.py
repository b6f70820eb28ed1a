"""The GraphQL schema in its own language, as cqrssite/gateway/schema.graphql keeps it."""

from typing import Any

from django.core.management.base import BaseCommand

from cqrssite.gateway.schema import schema


class Command(BaseCommand):
    help = "Prints the GraphQL schema."
    requires_system_checks = []

    def handle(self, **_options: Any) -> None:
        self.stdout.write(str(schema))
