"""The database service fails on every name that contains "defect", until `mended` says something."""

from tests.e2e.altered import manage, told


def alter() -> None:
    from cqrs.store import unit_of_work
    from cqrs.store.unit_of_work import Outcome
    from protocol.contact_pb2 import Contact
    from protocol.contact_write_pb2 import Command

    decide = unit_of_work.decide

    def decide_or_fail(contact: Contact | None, command: Command) -> Outcome:
        if "defect" in command.add.name + command.update.name and not told("mended"):
            raise ZeroDivisionError("a planted defect")
        return decide(contact, command)

    unit_of_work.decide = decide_or_fail


if __name__ == "__main__":
    manage(alter)
