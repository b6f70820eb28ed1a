"""`manage.py runring`: gateway, delay, apply and notices in one process."""

from typing import Any

from cqrs import conf
from cqrs.engines import engine_of
from cqrssite.gateway import project_ring
from cqrssite.management.commands import rungateway


class Command(rungateway.Command):
    help = (
        "Runs the whole ring in this process, on its databases alone: neither broker nor services. Where these are"
        " started instead (runstack), they go on with the commands that wait, and the other way round."
    )
    application = staticmethod(project_ring)

    def handle(self, *arguments: Any, bind: str, **options: Any) -> None:
        own = conf.current()
        journal, store = (engine_of(alias).place for alias in (own.journal, own.store))
        self.stdout.write(
            f"The whole ring in one process: GraphQL on http://{bind}/graphql, commands kept in {journal}, which take"
            f" effect in {store} {own.delay:g} s after they were accepted. runstack goes on from here with broker and"
            " services."
        )
        self.stdout.flush()
        super().handle(*arguments, bind=bind, **options)
