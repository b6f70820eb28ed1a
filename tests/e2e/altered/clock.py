"""Any service with a clock of its own: as many seconds ahead of the real one as `clock` says.

The time of day alone: what measures how long something takes goes on as it does when an operator sets a clock.
"""

import datetime
import time
import types

from tests.e2e.altered import manage, told

_time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime


def _ahead() -> float:
    return float(told("clock") or 0)


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Datetime(_datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _datetime:  # type: ignore[override]
        return _datetime.now(tz) + datetime.timedelta(seconds=_ahead())


def alter() -> None:
    # It adds deadlines to the time of day, for a core that reads the real one at the same moment.
    from grpc.aio import _utils

    _utils.time = types.SimpleNamespace(time=_time)


if __name__ == "__main__":
    # Before anything is imported that takes a copy of it.
    time.time = lambda: _time() + _ahead()
    time.time_ns = lambda: _time_ns() + int(_ahead() * 1e9)
    datetime.datetime = _Datetime  # type: ignore[misc]
    manage(alter)
