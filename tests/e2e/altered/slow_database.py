"""The database service takes its time for each commit: as many seconds as `slow` says."""

import time
from collections.abc import Sequence

from tests.e2e.altered import manage, told


def alter() -> None:
    from cqrs.store import command_writer
    from cqrs.store.incoming import IncomingCommand
    from cqrs.store.unit_of_work import Applied

    apply = command_writer.apply_incoming

    def apply_slowly(commands: Sequence[IncomingCommand]) -> Applied:
        if commands:
            time.sleep(float(told("slow") or 0))
        return apply(commands)

    command_writer.apply_incoming = apply_slowly


if __name__ == "__main__":
    manage(alter)
