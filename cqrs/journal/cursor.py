"""Where sending has come to in the journal. Pure: it neither reads the journal nor sends."""

from collections import deque
from collections.abc import Collection, Sequence

from cqrs.journal.record import Record

# Rows kept in memory until they are sent; what is beyond is read from the journal.
MAX_TAIL = 10_000


class Cursor:
    """Which rows of this process are to be sent next.

    Rows up to `position` are sent or being sent. The tail holds the rows that follow it, up to `head`. When more follow
    than fit, or an earlier run accepted some, it is `behind`: these are to be read from the journal.
    """

    def __init__(self, max_tail: int = MAX_TAIL) -> None:
        self._max_tail = max_tail
        self.position = 0
        self.head = 0
        self.behind = True
        self._tail: deque[Record] = deque()
        # Rows behind the position that were sent beside the cursor: the tail, or what is being read, may hold them.
        self._sent_beside: set[int] = set()

    def __len__(self) -> int:
        """How many rows are in the tail."""
        return len(self._tail)

    @property
    def unsent(self) -> int:
        """How many rows are to be sent, at most; 0 only once that is known."""
        return max(1, self.head - self.position) if self.behind else len(self._tail)

    def has_yet_to_send(self, number: int) -> bool:
        """Whether this row of ours is still to come. (A row beyond the head was claimed, and is sent beside.)"""
        return self.position < number <= self.head

    def add(self, accepted: Sequence[Record]) -> None:
        """Adds rows that were just committed."""
        self.head = max(self.head, accepted[-1].number)
        if self.behind:
            return  # they will be read
        # Some may have been read from the journal before.
        read = max(self.position, self._tail[-1].number if self._tail else 0)
        new = accepted if accepted[0].number > read else [each for each in accepted if each.number > read]
        if len(self._tail) + len(new) <= self._max_tail:
            self._tail.extend(new)
        else:
            self.behind = True

    def take(self, count: int) -> list[Record]:
        """The next rows of the tail, at most so many, but for those that were sent beside it; moves on behind them."""
        taken = [self._tail.popleft() for _ in range(min(count, len(self._tail)))]
        if not taken:
            return []
        self.position = taken[-1].number
        if not self._sent_beside:
            return taken
        wanted = [record for record in taken if record.number not in self._sent_beside]
        self._sent_beside = {number for number in self._sent_beside if number > self.position}
        return wanted

    def go_back(self, number: int) -> None:
        """Continues after `number`, from the journal: rows may have been cancelled or settled since."""
        self.position = min(self.position, number)
        self._tail.clear()
        self.behind = True

    def go_back_before(self, numbers: Collection[int]) -> None:
        """Has these rows be sent again."""
        self.head = max(self.head, *numbers)
        self.go_back(min(numbers) - 1)

    def note_sent_beside(self, numbers: Collection[int]) -> None:
        """Notes that these rows were sent otherwise."""
        if self.behind or self._tail:
            self._sent_beside.update(number for number in numbers if number > self.position)

    def begin_reading(self) -> tuple[int, int]:
        """Where to read from, to be given to `end_reading`.

        What is read from here on is known to the journal as sent, or is to be sent again.
        """
        self._sent_beside.clear()
        return self.position, self.head

    def end_reading(self, begun: tuple[int, int], read: Sequence[Record], *, is_all: bool) -> None:
        """Takes what was read. is_all: nothing that was committed by then follows."""
        position, head = begun
        if self.position != position:
            return  # gone back meanwhile
        self._tail.extend(read)
        if is_all:
            # Rows that were accepted meanwhile stand behind the head of then.
            self.behind = self.head != head
