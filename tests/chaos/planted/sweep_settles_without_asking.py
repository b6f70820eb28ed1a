"""The sweep takes what is overdue for applied."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.planted import manage


def plant() -> None:
    from cqrs.journal.sweep import Sweep
    from protocol.cqrs_notice_pb2 import Notice

    init = Sweep.__init__

    async def presume(command_ids: Sequence[str]) -> Mapping[str, Notice]:
        return {name: Notice(kind=Notice.UPDATED, command_id=name, message="Presumed") for name in command_ids}

    def init_blind(sweep: Sweep, journal: Any, relay: Any, _get_outcomes: Any, **options: Any) -> None:
        init(sweep, journal, relay, presume, **options)

    Sweep.__init__ = init_blind


if __name__ == "__main__":
    manage(plant)
