"""The database applies commands in the order they come."""

from tests.chaos.planted import manage


def plant() -> None:
    from cqrs.store.unit_of_work import UnitOfWork

    UnitOfWork._blocker = lambda _work, _command_id: ""


if __name__ == "__main__":
    manage(plant)
