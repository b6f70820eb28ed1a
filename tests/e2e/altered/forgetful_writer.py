"""The writer loses every command the first time it is sent to it, as a broker may; nobody says hello."""

from tests.e2e.altered import manage


def alter() -> None:
    from cqrs.writer.decoding import Received
    from cqrs.writer.delay_queue import DelayQueue, ScheduledCommand

    schedule = DelayQueue.schedule
    lost: set[str] = set()

    def lose_or_schedule(queue: DelayQueue, received: Received) -> list[ScheduledCommand]:
        command_id = received.envelope.meta.command_id
        if command_id not in lost:
            lost.add(command_id)
            return []
        return schedule(queue, received)

    DelayQueue.schedule = lose_or_schedule


if __name__ == "__main__":
    manage(alter)
