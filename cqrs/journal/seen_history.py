"""How far this process has seen the tracked history, as the history guard finds out."""

from collections.abc import Mapping

from cqrs.journal.settlement import Settlement
from cqrs.journal.tracked_history import Seen


class SeenHistory:
    """What journal and relay have to know of the history; the guard alone changes it."""

    def __init__(self) -> None:
        self._position = ""
        self._numbers_count = True
        self._may_redrive = False
        self._to_record: Seen | None = None

    @property
    def position(self) -> str:
        """Of the newest notice that is recorded as seen: a database that lacks it is another one."""
        return self._position

    @property
    def may_redrive(self) -> bool:
        """Whether the database has lost what the journal says was applied, and may get it back."""
        return self._may_redrive

    def track(self, position: str) -> None:
        """Another history is tracked, seen up to this position."""
        self._position = position

    def count_numbers(self, count: bool) -> None:
        """Whether the numbers of notices are worth recording: those of a memory store end with it."""
        self._numbers_count = count

    def expect_redrive(self, expected: bool) -> None:
        """Whether a redrive may come."""
        self._may_redrive = expected

    def see(self, seen: Seen) -> None:
        """Notes how far the history was seen; recorded with the next ends."""
        self._to_record = seen

    def take(self) -> Seen | None:
        """What is to be recorded, once."""
        seen, self._to_record = self._to_record, None
        return seen

    def recorded(self, seen: Seen) -> None:
        """Notes that this was recorded."""
        self._position = seen.position

    def numbered(self, ends: Mapping[str, Settlement]) -> Mapping[str, Settlement]:
        """The ends with the numbers of their notices where these count."""
        if self._numbers_count:
            return ends
        return {key: end if end.settled_at is None else end._replace(notice=0) for key, end in ends.items()}
