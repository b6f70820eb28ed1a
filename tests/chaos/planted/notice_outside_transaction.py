"""The database commits the effects of a batch first, and their notices after that."""

import time
from collections.abc import Sequence

from tests.chaos.planted import manage


def plant() -> None:
    from cqrs.store import apply, command_writer, rows
    from cqrs.store.database import cursor
    from cqrs.store.incoming import IncomingCommand
    from cqrs.store.messages import NoticeRow
    from cqrs.store.unit_of_work import Applied

    insert, apply_commands = rows.insert_notices, apply.apply_incoming
    waiting: list[NoticeRow] = []

    def apply_then_notice(commands: Sequence[IncomingCommand]) -> Applied:
        waiting.clear()
        applied = apply_commands(commands)
        # A crash in between is rare; this makes it likely.
        time.sleep(0.03)
        with cursor() as on:
            insert(on, waiting)
        return applied

    rows.insert_notices = lambda _cursor, notices: waiting.extend(notices)
    apply.apply_incoming = command_writer.apply_incoming = apply_then_notice


if __name__ == "__main__":
    manage(plant)
