"""Keeps the history of notices from growing for ever."""

import asyncio
import logging
from datetime import timedelta

from cqrs.store import notices
from cqrs.store.database import now_ms
from cqrs.store.errors import DatabaseAway
from cqrs.store.threads import DatabaseThreads

log = logging.getLogger("cqrs.store.retention")

# Seconds between two prunings.
PRUNE_EVERY = 3600.0


async def prune_notices(threads: DatabaseThreads, keep: timedelta, *, every: float = PRUNE_EVERY) -> None:
    """Prunes the notices that are older than `keep`, until cancelled. Commands get their turn between the parts."""
    while True:
        before = now_ms() - keep // timedelta(milliseconds=1)
        total = 0
        try:
            while pruned := await threads.write(notices.prune, before):
                total += pruned
        except DatabaseAway as error:
            log.warning("cannot prune notices: %s", error)
        log.log(logging.INFO if total else logging.DEBUG, "pruned %d notices", total)
        await asyncio.sleep(every)
