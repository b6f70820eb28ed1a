"""Commands that wait for the rest of their delay. No I/O, and no clock but the one given."""

import heapq
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cqrs.writer.decoding import Received

# What one call applies: commands, and bytes of them (a gRPC message has at most 4 MiB).
BATCH = 1_000
BATCH_BYTES = 3 * 1024 * 1024
# Bytes of commands that may wait.
MAX_BYTES = 256 * 1024 * 1024
# Seconds until a deferred command is due again, and the most of them that are due in a second.
AGAIN = 0.05
AGAIN_RATE = 20_000
# Seconds after which a deferred command is dropped: its journal sends it again once its predecessor is settled.
PATIENCE = 5.0


class ScheduledCommand(NamedTuple):
    """One command that waits. Ordered by when it is due, then by when it was received."""

    due: float
    number: int
    command_id: str
    # A serialised cqrs.Command. As messages, 100,000 would take 2 KB each.
    payload: bytes
    # What was decided since it was accepted; of two with the same id the one with more counts.
    decision: tuple[bool, int]
    at_most_once: bool
    deferred_since: float | None = None


class DelayQueue:
    """Commands, each until it is due, and once.

    A command is due when the delay has passed since it was accepted, but not before its predecessor, if that waits here
    too. A cancelled command is due at once, and so is one that an operator decided about; it replaces the same command
    without that.

    delay: seconds. limit: commands. max_bytes: of all commands together. Where there is no room, the commands of
    journals give way to those that are sent at most once; such a command is turned away only when nothing else waits.
    now: seconds of a clock that never goes back.
    """

    def __init__(
        self, delay: float, limit: int, now: Callable[[], float] = time.monotonic, max_bytes: int = MAX_BYTES
    ) -> None:
        self._delay = delay
        self._limit = limit
        self._max_bytes = max_bytes
        self._now = now
        self._number = 0
        self._bytes = 0
        self._journaled: dict[str, ScheduledCommand] = {}
        self._at_most_once: dict[str, ScheduledCommand] = {}
        self._deferred: set[str] = set()
        # May hold commands that were replaced or gave way: one counts only if it is in one of the dictionaries.
        self._heap: list[ScheduledCommand] = []

    def __len__(self) -> int:
        return len(self._journaled) + len(self._at_most_once)

    @property
    def fill(self) -> float:
        """How full it is, 0 to 1, by commands or bytes."""
        return max(len(self) / self._limit, self._bytes / self._max_bytes)

    @property
    def next_due(self) -> float:
        """When the next command is due, by the clock; infinity when none waits."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0].due if self._heap else float("inf")

    def due_together(self, within: float, enough: int = BATCH) -> float:
        """When the last of those is due that are due within so many seconds of the next; infinity when none waits.

        enough: of more than so many, when so many are due.
        """
        bound = self.next_due + within
        found: list[float] = []
        # Down the heap, as far as it is due by then: nothing below a later one is. A call takes no more than BATCH.
        places = [0]
        while places and len(found) < BATCH:
            place = places.pop()
            if place < len(self._heap) and self._heap[place].due <= bound:
                found.append(self._heap[place].due)
                places += (2 * place + 1, 2 * place + 2)
        found.sort()
        return found[min(len(found), enough) - 1] if found else float("inf")

    def schedule(self, received: Received) -> list[ScheduledCommand]:
        """Takes a command in; returns those for which there was no room: this one, or others that gave way to it."""
        now = self._now()
        meta = received.envelope.meta
        known = self._journaled.get(meta.command_id)
        decision = (meta.cancelled, meta.operation.notice)
        if known is not None and decision <= known.decision:
            return []
        self._number += 1
        scheduled = ScheduledCommand(
            due=now if any(decision) else self._due(now, meta.waited_ms, meta.depends_on),
            number=self._number,
            command_id=meta.command_id,
            payload=received.payload,
            decision=decision,
            at_most_once=received.at_most_once,
        )
        dropped: list[ScheduledCommand] = []
        while known is None and not self._has_room_for(scheduled):
            if not scheduled.at_most_once or not self._journaled:
                return [*dropped, scheduled]
            dropped.append(self._remove(next(reversed(self._journaled.values()))))
        self._put(scheduled)
        return dropped

    def take(self) -> list[ScheduledCommand]:
        """The commands that are due, in order, as many as one call may apply; they are forgotten.

        They are forgotten now and not once they are applied. A command that is sent again meanwhile is then scheduled
        again, which is harmless. The other way round it would be taken for known, and lost with a call that fails.
        """
        now = self._now()
        taken: list[ScheduledCommand] = []
        size = 0
        while len(taken) < BATCH and self.next_due <= now and size + len(self._heap[0].payload) <= BATCH_BYTES:
            scheduled = self._remove(heapq.heappop(self._heap))
            size += len(scheduled.payload)
            taken.append(scheduled)
        return taken

    def reschedule(self, deferred: Sequence[ScheduledCommand]) -> list[ScheduledCommand]:
        """Has commands that were taken, but could not be applied yet, wait another moment; returns those it drops."""
        now = self._now()
        again = max(AGAIN, (len(self._deferred) + len(deferred)) / AGAIN_RATE)
        dropped: list[ScheduledCommand] = []
        for scheduled in deferred:
            if scheduled.command_id in self._of(scheduled):
                continue  # sent again meanwhile
            since = now if scheduled.deferred_since is None else scheduled.deferred_since
            if now - since >= PATIENCE and not scheduled.at_most_once:
                dropped.append(scheduled)
                continue
            self._put(scheduled._replace(due=now + again, deferred_since=since))
            self._deferred.add(scheduled.command_id)
        return dropped

    def ids(self, *, at_most_once: bool) -> list[str]:
        """The ids of the commands that wait and are sent at most once, or of all others."""
        return list(self._at_most_once if at_most_once else self._journaled)

    def _due(self, now: float, waited_ms: int, depends_on: str) -> float:
        waited = min(max(waited_ms / 1000, 0.0), self._delay)
        due = now + self._delay - waited
        predecessor = self._journaled.get(depends_on)
        return due if predecessor is None else max(due, predecessor.due)

    def _has_room_for(self, scheduled: ScheduledCommand) -> bool:
        return len(self) < self._limit and self._bytes + len(scheduled.payload) <= self._max_bytes

    def _put(self, scheduled: ScheduledCommand) -> None:
        replaced = self._of(scheduled).get(scheduled.command_id)
        if replaced is not None:
            self._bytes -= len(replaced.payload)
        self._of(scheduled)[scheduled.command_id] = scheduled
        self._bytes += len(scheduled.payload)
        heapq.heappush(self._heap, scheduled)
        if len(self._heap) > 2 * self._limit:
            # What was replaced or gave way would keep its bytes until it is due.
            self._heap = [each for each in self._heap if self._counts(each)]
            heapq.heapify(self._heap)

    def _remove(self, scheduled: ScheduledCommand) -> ScheduledCommand:
        del self._of(scheduled)[scheduled.command_id]
        self._bytes -= len(scheduled.payload)
        self._deferred.discard(scheduled.command_id)
        return scheduled

    def _of(self, scheduled: ScheduledCommand) -> dict[str, ScheduledCommand]:
        return self._at_most_once if scheduled.at_most_once else self._journaled

    def _counts(self, scheduled: ScheduledCommand) -> bool:
        return self._of(scheduled).get(scheduled.command_id) is scheduled
