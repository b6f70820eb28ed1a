"""The unsettled commands that this process knows of, and which is the last of each aggregate."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

Key = tuple[str, str]
"""An aggregate's name and an id of it."""


class _Known(NamedTuple):
    key: Key
    due: float
    accepted_on: float | None


class Unsettled:
    """Commands in the order they were journaled, each with its aggregate and when it takes effect (seconds since 1970).

    The commands of one aggregate are linked to a list, since one in the middle can be settled before those in front of
    it (a cancelled one): the last unsettled one has to be known all the same. Most have one, and no links.
    The committing thread and the event loop write it, hence the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._last: dict[Key, str] = {}
        self._before: dict[str, str] = {}
        self._after: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, command_id: object) -> bool:
        return command_id in self._known

    def ids(self) -> list[str]:
        """A copy of all ids."""
        with self._lock:
            return list(self._known)

    def last(self, aggregate: str, aggregate_id: str) -> str:
        """The last unsettled command of the aggregate, or an empty string."""
        return self._last.get((aggregate, aggregate_id), "")

    def accepted_on(self, command_id: str) -> float | None:
        """When this process accepted the command, on its monotonic clock; None: another did, or it is settled."""
        known = self._known.get(command_id)
        return None if known is None else known.accepted_on

    def add(self, commands: Iterable[tuple[str, Key]], due: float, accepted_on: float | None = None) -> None:
        """Adds commands, each with its aggregate, behind all others. One that is known stays where it is."""
        with self._lock:
            for command_id, key in commands:
                if command_id in self._known:
                    continue
                self._known[command_id] = _Known(key, due, accepted_on)
                before = self._last.get(key)
                if before is not None:
                    self._before[command_id] = before
                    self._after[before] = command_id
                self._last[key] = command_id

    def remove(self, command_id: str) -> float | None:
        """Removes a command and returns when it was to take effect; None: it was not known."""
        with self._lock:
            known = self._known.pop(command_id, None)
            if known is None:
                return None
            before = self._before.pop(command_id, None)
            after = self._after.pop(command_id, None)
            if before is not None:
                del self._after[before]
            if after is not None:
                del self._before[after]
            if before is not None and after is not None:
                self._after[before], self._before[after] = after, before
            if after is None:
                if before is None:
                    del self._last[known.key]
                else:
                    self._last[known.key] = before
            return known.due
