"""The database applies a command as often as it is sent."""

from collections.abc import Sequence

from tests.chaos.planted import manage


def plant() -> None:
    from django.db import connections

    from cqrs.aggregate import registry
    from cqrs.store.incoming import IncomingCommand
    from cqrs.store.unit_of_work import UnitOfWork

    load, take = UnitOfWork._load, UnitOfWork._take

    def load_all(work: UnitOfWork, commands: Sequence[IncomingCommand]) -> None:
        load(work, commands)
        for aggregate, declared in registry().items():
            ids = [each.aggregate_id for each in commands if each.aggregate == aggregate]
            work._stored[aggregate] |= declared.store.load(work._cursor, ids)

    def take_again(work: UnitOfWork, incoming: IncomingCommand) -> Sequence[IncomingCommand]:
        work._settled.pop(incoming.command_id, None)
        return take(work, incoming)

    UnitOfWork._load = load_all
    UnitOfWork._take = take_again
    # The schema would not have it.
    with connections["contacts"].cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS notice_one_final_per_command")
    connections["contacts"].close()


if __name__ == "__main__":
    manage(plant)
