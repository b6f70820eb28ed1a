"""The database service fails on every name that contains "defect", until `mended` says something."""

from typing import Any

from tests.e2e.altered import manage, told


def alter() -> None:
    from cqrs.store import unit_of_work
    from cqrs.store.unit_of_work import Outcome
    from protocol.cqrs_command_pb2 import Command

    decide = unit_of_work.decide

    def decide_or_fail(state: Any | None, command: Command) -> Outcome:
        if b"defect" in command.body and not told("mended"):
            raise ZeroDivisionError("a planted defect")
        return decide(state, command)

    unit_of_work.decide = decide_or_fail


if __name__ == "__main__":
    manage(alter)
