"""The gateway answers "queued" and journals the command a little later."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.chaos.planted import manage


def plant() -> None:
    from cqrs.journal.accepted import Accepted
    from cqrs.journal.committer import Committer, _Accept
    from protocol.cqrs_command_pb2 import Command

    async def accept(committer: Committer, commands: Sequence[Command], fresh: bool) -> list[Accepted]:
        loop = asyncio.get_running_loop()
        job = _Accept(commands, fresh, loop.create_future())
        # A crash in between is rare; this makes it likely.
        loop.call_later(0.1, committer._jobs.put, job)
        now = datetime.now(UTC)
        due = now + timedelta(seconds=committer._delay)
        return [Accepted(each.meta.command_id, "contact", each.aggregate_id, now, due) for each in commands]

    Committer.accept = accept


if __name__ == "__main__":
    manage(plant)
