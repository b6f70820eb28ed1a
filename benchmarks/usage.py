"""What processes take of the machine: CPU time and memory."""

import resource
import time
from collections.abc import Mapping
from typing import NamedTuple

import psutil

from benchmarks.ring import Ring


def resident(pid: int) -> int:
    """Bytes of memory that are the process's alone, and would be free without it."""
    return int(psutil.Process(pid).memory_full_info().uss)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that the process has spent so far."""
    return _times(psutil.Process(pid)).total


class Others:
    """What processes that are not ours took of the machine from its making on: they make figures worse."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._before = self._spent()

    def read(self) -> float:
        """Cores that were busy with others, on average. Children of ours count as ours once they have ended."""
        return max(0.0, (self._spent() - self._before) / (time.monotonic() - self._started))

    @staticmethod
    def _spent() -> float:
        machine = psutil.cpu_times()
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return float(machine.user + machine.system) - sum(usage.ru_utime + usage.ru_stime for usage in ours)


class Meter:
    """CPU time of a ring's processes from its making on."""

    def __init__(self, ring: Ring) -> None:
        self._processes = {name: psutil.Process(ring.pid(name)) for name in ring.processes}
        self._started = time.monotonic()
        self._before = self._times()

    def read(self) -> "Spent":
        """What each process spent since."""
        return Spent(time.monotonic() - self._started, self._before, self._times())

    def _times(self) -> dict[str, "Times"]:
        return {name: _times(process) for name, process in self._processes.items()}


class Times(NamedTuple):
    """Seconds of CPU: in the program, in the kernel for it, and how much of both was spent by its main thread."""

    user: float
    system: float
    main: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def since(self, before: "Times") -> "Times":
        return Times(*(now - then for now, then in zip(self, before, strict=True)))


class Spent:
    """CPU time by process over `seconds`."""

    def __init__(self, seconds: float, before: Mapping[str, Times], after: Mapping[str, Times]) -> None:
        self.seconds = seconds
        self.by_process = {name: times.since(before[name]) for name, times in after.items()}

    @property
    def cores(self) -> float:
        """How many cores were busy with all of the processes, on average."""
        return sum(times.total for times in self.by_process.values()) / self.seconds


def _times(process: psutil.Process) -> Times:
    spent = process.cpu_times()
    main = next((each for each in process.threads() if each.id == process.pid), None)
    return Times(spent.user, spent.system, main.user_time + main.system_time if main else 0.0)
