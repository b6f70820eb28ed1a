"""The writer loses every command the first time it is sent to it, as a broker may; nobody says hello."""

from tests.e2e.altered import manage


def alter() -> None:
    from cqrs.journal.commands import meta_of
    from cqrs.writer.delay_queue import Held, Holding
    from protocol.contact_write_pb2 import Command

    hold = Holding.hold
    lost: set[str] = set()

    def lose_or_hold(holding: Holding, command: Command) -> Held | None:
        command_id = meta_of(command).command_id
        if command_id not in lost:
            lost.add(command_id)
            return None
        return hold(holding, command)

    Holding.hold = lose_or_hold


if __name__ == "__main__":
    manage(alter)
