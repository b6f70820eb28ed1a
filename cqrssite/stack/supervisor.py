"""Runs the services of one machine as processes: each started once what it needs is healthy, restarted when it dies."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cqrs.transport.addresses import CannotListen, check_free
from cqrs.transport.backoff import Backoff
from cqrs.transport.process import StartError

_PARENT_DEATH = str(Path(__file__).with_name("parent_death.py"))
# An unfinished line longer than this is printed in pieces, in bytes.
_MAX_LINE = 64 * 1024
# A process that ran for so many seconds is restarted quickly.
_STEADY = 10.0
# Seconds between two reports that a service is not healthy yet.
_REPORT_EVERY = 10.0
# SIGHUP: the terminal was closed.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    command: empty when it runs elsewhere and is only waited for.
    bind: where it listens, if it does. setting: the name of the setting that says so.
    needs: names of services that must be healthy before it starts.
    """

    name: str
    command: Sequence[str]
    healthy: Callable[[], Awaitable[bool]]
    bind: str = ""
    setting: str = ""
    needs: Sequence[str] = ()


class Stack:
    """Runs `services` until a signal or `stop`, then ends them in reverse order and leaves nothing running.

    on_line: gets (name of a service, line) for each line it prints and each thing that happens to it.
    on_ready: called once, with the seconds it took, when all are healthy.
    grace: seconds each process has to end after SIGTERM; then it is killed. A second signal kills all at once.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        on_line: Callable[[str, str], None],
        on_ready: Callable[[float], None] = lambda seconds: None,
        grace: float = 10.0,
    ) -> None:
        self._services = services
        self._on_line = on_line
        self._on_ready = on_ready
        self._grace = grace
        self._healthy = {service.name: asyncio.Event() for service in services}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._killing = asyncio.Event()

    async def run(self) -> None:
        """Raises StartError when an address that is to be listened on is taken."""
        _check_addresses(self._services)
        with self._signals():
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._supervise(service), name=f"supervise {service.name}")
                        for service in self._services
                    ]
                    tasks.append(group.create_task(self._report_ready(time.monotonic()), name="report ready"))
                    await self._stopping.wait()
                    for task in tasks:
                        task.cancel()
            finally:
                await self._end_all()

    def stop(self) -> None:
        """Ends the run; called again, kills what is still running."""
        (self._killing if self._stopping.is_set() else self._stopping).set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        # A SIGHUP that nohup has us ignore stays ignored.
        numbers = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _report_ready(self, started: float) -> None:
        for event in self._healthy.values():
            await event.wait()
        self._on_ready(time.monotonic() - started)

    async def _supervise(self, service: Service) -> None:
        """Starts the service when what it needs is healthy, and again whenever it ends."""
        for needed in service.needs:
            await self._healthy[needed].wait()
        if not service.command:
            await self._wait_healthy(service)
            return
        backoff = Backoff(first=0.2)
        while True:
            started = time.monotonic()
            code = await self._run_once(service)
            if time.monotonic() - started > _STEADY:
                backoff.reset()
            pause = backoff.next()
            self._on_line(service.name, f"{_describe_exit(code)}; starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _run_once(self, service: Service) -> int:
        """Runs the process to its end and returns its exit code. A cancelled call leaves it to `_end_all`."""
        process = await self._start(service)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward_output(service.name, process))
                waiting = group.create_task(self._wait_healthy(service))
                code = await process.wait()
                waiting.cancel()
        finally:
            if process.returncode is not None:
                del self._processes[service.name]
        return code

    async def _start(self, service: Service) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", _PARENT_DEATH, str(os.getpid()), *service.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # The project's folder, from wherever its manage.py was started.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Out of the terminal's group: Ctrl-C reaches us alone, and we end the services in order.
            start_new_session=True,
        )
        self._processes[service.name] = process
        return process

    async def _wait_healthy(self, service: Service) -> None:
        """Returns once the service is healthy; reports every 10 s that it is not yet."""
        next_report = time.monotonic() + _REPORT_EVERY
        while not await service.healthy():
            if time.monotonic() > next_report:
                self._on_line(service.name, "not healthy yet")
                next_report += _REPORT_EVERY
            await asyncio.sleep(0.1)
        self._healthy[service.name].set()

    async def _forward_output(self, service: str, process: asyncio.subprocess.Process) -> None:
        """Passes on what the process prints, line by line."""
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(_MAX_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._on_line(service, line.decode(errors="replace").rstrip())
        if rest:
            self._on_line(service, rest.decode(errors="replace").rstrip())

    async def _end_all(self) -> None:
        """Ends what runs, last started first; at once when cancelled or signalled again."""
        killing = asyncio.create_task(self._killing.wait(), name="second signal")
        try:
            for service in reversed(self._services):
                if process := self._processes.get(service.name):
                    await self._end(service.name, process, killing)
        finally:
            killing.cancel()
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)

    async def _end(self, service: str, process: asyncio.subprocess.Process, killing: asyncio.Task[bool]) -> None:
        _signal(process, signal.SIGTERM)
        ended = asyncio.create_task(self._forward_to_the_end(service, process), name=f"end {service}")
        await asyncio.wait({ended, killing}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            if not killing.done():
                self._on_line(service, f"does not end within {self._grace:g} s")
            _signal(process, signal.SIGKILL)
        self._on_line(service, _describe_exit(await ended))

    async def _forward_to_the_end(self, service: str, process: asyncio.subprocess.Process) -> int:
        await self._forward_output(service, process)
        return await process.wait()


def _check_addresses(services: Sequence[Service]) -> None:
    """Raises StartError with one line that names every address that cannot be listened on, and its setting."""
    wrong = {}
    for service in services:
        if service.command and service.bind:
            try:
                check_free(service.bind)
            except CannotListen as error:
                wrong[service.bind] = f"{error}; {service.setting} says where" if service.setting else str(error)
    if wrong:
        raise StartError("; ".join(wrong.values()))


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}" if code else "ended"
    return f"ended by {signal.Signals(-code).name}"
