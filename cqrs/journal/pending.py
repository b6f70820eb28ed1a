"""The unsettled commands that this process knows of, and which is the last of each contact."""

import threading
from collections.abc import Iterable


class Unsettled:
    """Commands in the order they were journaled, each with its contact and when it takes effect (seconds since 1970).

    The commands of one contact are linked to a list, since one in the middle can be settled before those in front of it
    (a cancelled one): the last unsettled one has to be known all the same. Most contacts have one, and no links.
    Written by the thread that commits and by the event loop, hence the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}
        self._last: dict[str, str] = {}
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

    def last(self, contact_id: str) -> str:
        """The last unsettled command of the contact, or an empty string."""
        return self._last.get(contact_id, "")

    def add(self, commands: Iterable[tuple[str, str]], due: float) -> None:
        """Adds commands, each with its contact, behind all others. One that is known stays where it is."""
        with self._lock:
            for command_id, contact_id in commands:
                if command_id in self._known:
                    continue
                self._known[command_id] = (contact_id, due)
                before = self._last.get(contact_id)
                if before is not None:
                    self._before[command_id] = before
                    self._after[before] = command_id
                self._last[contact_id] = command_id

    def remove(self, command_id: str) -> float | None:
        """Removes a command and returns when it was to take effect; None: it was not known."""
        with self._lock:
            known = self._known.pop(command_id, None)
            if known is None:
                return None
            contact_id, due = known
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
                    del self._last[contact_id]
                else:
                    self._last[contact_id] = before
            return due
