"""The ends of commands that this process knows of, until the journal has them too."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

from cqrs.journal.errors import JournalFull, JournalUnavailable
from cqrs.journal.models import Command as Row
from cqrs.journal.settlement import Settlement, State

# Callers that may listen.
MAX_LISTENERS = 20_000
# Seconds for which ends are collected before they are recorded.
RECORD_EVERY = 0.05
# Seconds until it is tried again when they could not be.
RECORD_AGAIN = 1.0
# Ends recorded in one transaction.
RECORD_AT_ONCE = 1000


class Listener:
    """Waits for the next settlement of one command, and keeps the last."""

    def __init__(self) -> None:
        self.next: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last: Settlement | None = None

    def notify(self, settlement: Settlement) -> None:
        self.last = settlement
        if not self.next.done():
            self.next.set_result(None)


class Completions:
    """Ends by command id: each is here from its notice until it is recorded.

    record: writes ends to the journal and returns, once they are committed, those that are to be written again;
    raises JournalUnavailable.
    """

    def __init__(self, record: Callable[[Mapping[str, Settlement]], Awaitable[Collection[str]]]) -> None:
        self._record_ends = record
        self._known: dict[str, Settlement] = {}
        self._to_record: dict[str, Settlement] = {}
        self._recording: asyncio.Task[None] | None = None
        self._listeners: dict[str, list[Listener]] = {}
        self._listening = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, command_id: object) -> bool:
        return command_id in self._known

    def ended(self, command_id: str) -> Settlement | None:
        """The end of the command, if it is known and not recorded yet."""
        known = self._known.get(command_id)
        return None if known is None or known.state == State.PARKED else known

    def note(self, command_id: str, settlement: Settlement) -> bool:
        """Takes it as the latest of the command, for listeners and the journal; False: the command had ended before."""
        before = self._known.get(command_id)
        if before is not None and not settlement.follows(before.state):
            return False
        self._known[command_id] = self._to_record[command_id] = settlement
        for listener in self._listeners.get(command_id, ()):
            listener.notify(settlement)
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_all(), name="journal recording")
        return True

    def show(self, row: Row, listener: Listener) -> Row:
        """Shows on `row`, which may have been read before it was recorded, what is known."""
        for settlement in (self._known.get(row.command_id), listener.last):
            if settlement is not None:
                settlement.settle(row)
        return row

    @contextlib.contextmanager
    def listen(self, command_id: str) -> Iterator[Listener]:
        """Listens for a command within the context. Raises JournalFull when too many do.

        The listener begins with what is known and not recorded yet.
        """
        if self._listening >= MAX_LISTENERS:
            raise JournalFull("too many callers wait for commands: try again later")
        listener = Listener()
        if command_id in self._known:
            listener.notify(self._known[command_id])
        listeners = self._listeners.setdefault(command_id, [])
        listeners.append(listener)
        self._listening += 1
        try:
            yield listener
        finally:
            self._listening -= 1
            listeners.remove(listener)
            if not listeners:
                del self._listeners[command_id]

    def listened(self) -> list[str]:
        """The commands that have listeners."""
        return list(self._listeners)

    async def close(self) -> None:
        """Records what is left; what cannot be recorded is asked for again by the sweep of the next process."""
        if self._recording is not None:
            self._recording.cancel()
            await asyncio.wait([self._recording])
        with contextlib.suppress(JournalUnavailable):  # the log says it already
            while self._to_record and await self._record():
                pass

    async def _record_all(self) -> None:
        try:
            while self._to_record:
                if len(self._to_record) < RECORD_AT_ONCE:
                    await asyncio.sleep(RECORD_EVERY)
                try:
                    await self._record()
                except JournalUnavailable:  # the log says it already
                    await asyncio.sleep(RECORD_AGAIN)
        finally:
            self._recording = None

    async def _record(self) -> bool:
        """Records the next ends; whether all of these were."""
        ids = [command_id for command_id, _ in zip(self._to_record, range(RECORD_AT_ONCE), strict=False)]
        part = {command_id: self._to_record.pop(command_id) for command_id in ids}
        try:
            locked = await self._record_ends(part)
        except (JournalUnavailable, asyncio.CancelledError):
            self._to_record = part | self._to_record  # what came meanwhile is newer
            raise
        for command_id, settlement in part.items():
            if command_id in locked:
                self._to_record.setdefault(command_id, settlement)
            elif self._known.get(command_id) is settlement:
                del self._known[command_id]
        return not locked
