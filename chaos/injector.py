"""Injects faults into the processes and connections of a system, and repairs them."""

import asyncio
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable

from chaos.schedule import Fault, Round
from chaos.system import System
from cqrs.transport.process import StartError


class Injector:
    """Counts its faults in `faults`: target, then fault, then how often.

    overran: gets a sentence when a process did not end in time.
    """

    def __init__(
        self, system: System, clock: Callable[[], float], overran: Callable[[str], None], dice: random.Random
    ) -> None:
        self.faults: dict[str, Counter[str]] = defaultdict(Counter)
        self._system = system
        self._clock = clock
        self._overran = overran
        self._dice = dice

    async def inject(self, one: Round) -> float:
        """All faults of a round at once; returns, once all is up again, when the last was repaired.

        Raises StartError when a process does not come up again.
        """
        try:
            async with asyncio.TaskGroup() as group:
                repairs = [
                    *(group.create_task(self._break_process(fault)) for fault in one.processes),
                    *(group.create_task(self._break_link(fault)) for fault in one.links),
                ]
        except* StartError as errors:
            raise StartError(str(errors.exceptions[0])) from None
        return max(repair.result() for repair in repairs)

    async def _break_process(self, fault: Fault) -> float:
        """Returns, once the process is up again, when it was started again or continued."""
        self.faults[fault.target][fault.what] += 1
        process = self._system.processes[fault.target]
        if fault.what == "freeze":
            process.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.lasts)
            finally:
                process.signal(signal.SIGCONT)
            return self._clock()
        if fault.what == "kill":
            await process.kill()
        elif not await process.stop():
            self._overran(f"{fault.target} did not end within 10 s of SIGTERM")
        await asyncio.sleep(fault.lasts)
        restarted = self._clock()
        await process.start()
        await process.wait_up()
        return restarted

    async def _break_link(self, fault: Fault) -> float:
        """Returns when the connection was whole again."""
        self.faults[fault.target][fault.what] += 1
        link = self._system.links[fault.target]
        link.inject(fault.what, self._dice)
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            link.heal()
        return self._clock()
