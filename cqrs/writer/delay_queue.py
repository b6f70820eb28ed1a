"""Commands that wait for the rest of their delay. No I/O, and no clock but the one given."""

import heapq
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cqrs.journal.commands import meta_of
from protocol.contact_write_pb2 import Command, CommandBatch
from protocol.ids import new_command_id

# What one call applies: commands, and bytes of them (a gRPC message takes 4 MiB).
BATCH = 1_000
BATCH_BYTES = 3 * 1024 * 1024
# Seconds until a left command is offered again, and the most of them that are offered in a second.
AGAIN = 0.05
AGAIN_RATE = 20_000
# Seconds after which a left command is given up: whoever sent it sends it again once what it depends on is settled.
PATIENCE = 5.0


class Held(NamedTuple):
    """One command that waits. Ordered by when it is due, then by when it was received."""

    due: float
    number: int
    command_id: str
    # A CommandBatch of this one command: joined, payloads are the batch. As messages, 100,000 would take 2 KB each.
    payload: bytes
    # What was decided since it was accepted; of two with the same id the one with more counts.
    decision: tuple[bool, int]
    foreign: bool
    left_since: float | None = None


class Holding:
    """The commands a writer holds, each until it is due, and once.

    A command is due when the delay has passed since it was accepted, but not before the one it depends on, if that is
    held. A cancelled one, or one that an operator decided about, is due at once, and takes the place of the same
    command without that.

    delay: seconds. limit: commands held; where there is no room, ours give way, since they are sent again; those of
    foreign clients are not, so they are refused only when all that is held is foreign.
    now: seconds of a clock that never goes back.
    """

    def __init__(self, delay: float, limit: int, now: Callable[[], float] = time.monotonic) -> None:
        self._delay = delay
        self._limit = limit
        self._now = now
        self._number = 0
        self._ours: dict[str, Held] = {}
        self._foreign: dict[str, Held] = {}
        self._left: set[str] = set()
        # May hold entries that were replaced or gave way: an entry counts only if it is in one of the dictionaries.
        self._heap: list[Held] = []

    def __len__(self) -> int:
        return len(self._ours) + len(self._foreign)

    @property
    def next_due(self) -> float:
        """When the next command is due, by the clock; infinity when none is held."""
        while self._heap and not self._counts(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0].due if self._heap else float("inf")

    def due_together(self, within: float, enough: int = BATCH) -> float:
        """When the last of those is due that are due within so many seconds of the next; infinity when none is held.

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

    def hold(self, command: Command) -> Held | None:
        """Takes a command in, and gives it an id if it has none (a foreign client's).

        Returns the one there was no room for: this one, or another that gave way to it. None: there was room.
        """
        now = self._now()
        meta = meta_of(command)
        foreign = not meta.command_id
        if foreign:
            meta.command_id = new_command_id()
        known = self._ours.get(meta.command_id)
        decision = (meta.cancelled, meta.operation.notice)
        if known is not None and decision <= known.decision:
            return None
        self._number += 1
        held = Held(
            due=now if any(decision) else self._due(now, meta.waited_ms, meta.depends_on),
            number=self._number,
            command_id=meta.command_id,
            payload=CommandBatch(command=[command]).SerializeToString(),
            decision=decision,
            foreign=foreign,
        )
        out = None
        if known is None and len(self) >= self._limit:
            if not foreign or not self._ours:
                return held
            out = self._ours.popitem()[1]
            self._left.discard(out.command_id)
        self._put(held)
        return out

    def take(self) -> list[Held]:
        """The commands that are due, in order, as many as one call may apply; they are forgotten.

        Forgotten now and not once they are applied: what is sent again meanwhile is then held again, which is harmless.
        The other way round it would be taken for known and lost with a call that fails.
        """
        now = self._now()
        taken: list[Held] = []
        size = 0
        while len(taken) < BATCH and self.next_due <= now and size + len(self._heap[0].payload) <= BATCH_BYTES:
            held = heapq.heappop(self._heap)
            size += len(held.payload)
            self._of(held).pop(held.command_id)
            self._left.discard(held.command_id)
            taken.append(held)
        return taken

    def offer_again(self, left: Sequence[Held]) -> list[Held]:
        """Holds what could not be applied yet for another moment; returns what was given up."""
        now = self._now()
        again = max(AGAIN, (len(self._left) + len(left)) / AGAIN_RATE)
        given_up: list[Held] = []
        for held in left:
            if held.command_id in self._of(held):
                continue  # sent again meanwhile
            since = now if held.left_since is None else held.left_since
            if now - since >= PATIENCE and not held.foreign:
                given_up.append(held)
                continue
            self._put(held._replace(due=now + again, left_since=since))
            self._left.add(held.command_id)
        return given_up

    def foreign_ids(self) -> list[str]:
        """The ids of held commands that nobody sends again."""
        return list(self._foreign)

    def _due(self, now: float, waited_ms: int, depends_on: str) -> float:
        waited = min(max(waited_ms / 1000, 0.0), self._delay)
        due = now + self._delay - waited
        before = self._ours.get(depends_on)
        return due if before is None else max(due, before.due)

    def _put(self, held: Held) -> None:
        self._of(held)[held.command_id] = held
        heapq.heappush(self._heap, held)

    def _of(self, held: Held) -> dict[str, Held]:
        return self._foreign if held.foreign else self._ours

    def _counts(self, held: Held) -> bool:
        return self._of(held).get(held.command_id) is held
