"""Accepted commands whose outcome no watcher has seen yet, and when each is overdue."""

from collections.abc import Callable


class Overdue:
    """Follows accepted commands to their first notice. Times are those of `clock`, in seconds."""

    # A command without a notice so many seconds after it was due is late; a busy machine needs some.
    GRACE = 0.3

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Command id → when its acceptance was answered, when it is late.
        self._pending: dict[str, tuple[float, float]] = {}
        self._settled: set[str] = set()
        # When a command was last seen to be late.
        self.last_late = 0.0
        # How long after it was due each was settled, in seconds.
        self.beyond: list[float] = []

    def accept(self, command_id: str, takes_effect_in: float) -> None:
        """Notes an answer that the command takes effect in so many seconds."""
        now = self._clock()
        if command_id not in self._settled and command_id not in self._pending:
            self._pending[command_id] = (now, now + takes_effect_in + self.GRACE)

    def settle(self, command_id: str) -> None:
        """Notes that a notice gave its outcome."""
        self._settled.add(command_id)
        pending = self._pending.pop(command_id, None)
        if pending is None:
            return
        beyond = self._clock() - pending[1]
        self.beyond.append(beyond + self.GRACE)
        if beyond > 0:
            self.last_late = self._clock()

    def all_settled(self, accepted_before: float = float("inf")) -> bool:
        """Whether no command accepted before then is pending, and none at all is late."""
        now = self._clock()
        return not any(accepted <= accepted_before or late < now for accepted, late in self._pending.values())

    def give_up(self) -> list[str]:
        """Returns the commands that are late now, and forgets them."""
        now = self._clock()
        late = [command_id for command_id, (_, late) in self._pending.items() if late < now]
        for command_id in late:
            del self._pending[command_id]
        return late
