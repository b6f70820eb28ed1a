"""The database service takes its time for each commit: as many seconds as `slow` says."""

import time
from collections.abc import Sequence

from tests.e2e.altered import manage, told


def alter() -> None:
    from database_service import writer
    from database_service.batch import Applied
    from protocol.contact_write_pb2 import Command

    apply = writer.apply

    def apply_slowly(commands: Sequence[Command]) -> Applied:
        if commands:
            time.sleep(float(told("slow") or 0))
        return apply(commands)

    writer.apply = apply_slowly


if __name__ == "__main__":
    manage(alter)
