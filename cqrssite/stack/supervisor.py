"""Runs the services of one machine as processes: each started once what it needs is healthy, restarted when it dies."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cqrs.transport.addresses import split_address
from cqrs.transport.backoff import Backoff
from cqrs.transport.process import StartError

_TETHER = str(Path(__file__).with_name("parent_death.py"))
# An unfinished line longer than this is printed in pieces, in bytes.
_MAX_LINE = 64 * 1024
# What ran for so many seconds does not end at once again: it is restarted quickly.
_STEADY = 10.0
# Connections that wait for whoever listens.
_BACKLOG = 2048
# SIGHUP: the terminal was closed.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    command: empty when it runs elsewhere and is only waited for. bind: where it listens, if it does.
    healthy_at: for one that shares `bind` with others, or could; asked in the place of `healthy`, at an address of this
    process alone. The stack listens at both and hands the sockets over, as `--fd NUMBER` behind the command; the system
    spreads who connects to `bind` over the processes. Each also gets the sockets of the others there, as
    `--spare-fd NUMBER`: who connects while one is away is taken by another, or waits for it.
    """

    name: str
    command: Sequence[str]
    healthy: Callable[[], Awaitable[bool]]
    bind: str = ""
    healthy_at: Callable[[str], Awaitable[bool]] | None = None
    needs: Sequence[str] = ()


class Stack:
    """Runs `services` until a signal or `stop`, then ends them in reverse order and leaves nothing running.

    say: gets (name of a service, line) for each line it prints and each thing that happens to it.
    ready: called once, with the seconds it took, when all are healthy.
    grace: seconds each process has to end after SIGTERM; then it is killed. A second signal kills all at once.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        say: Say,
        ready: Callable[[float], None] = lambda seconds: None,
        grace: float = 10.0,
    ) -> None:
        self._services = services
        self._say = say
        self._ready = ready
        self._grace = grace
        self._healthy = {service.name: asyncio.Event() for service in services}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        # Handed over, by the name of the service: at its address, and where it alone is.
        self._shared: dict[str, list[socket.socket]] = {}
        self._own: dict[str, list[socket.socket]] = {}
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    async def run(self) -> None:
        """Raises StartError when an address that is to be listened on cannot be had."""
        started = [service for service in self._services if service.command]
        sharing = [service for service in started if service.healthy_at]
        # Not shared with another stack.
        check_free({service.bind for service in started if service.bind})
        self._shared = {service.name: listen([service.bind], shared=True)[service.bind] for service in sharing}
        self._own = {service.name: _listen("127.0.0.1", 0) for service in sharing}
        with self._signals():
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._keep(service), name=f"keep {service.name}")
                        for service in self._services
                    ]
                    tasks.append(group.create_task(self._tell_ready(time.monotonic()), name="tell ready"))
                    await self._stopping.wait()
                    for task in tasks:
                        task.cancel()
            finally:
                await self._end_all()

    def stop(self) -> None:
        """Ends the run; called again, kills what is still running."""
        (self._hurrying if self._stopping.is_set() else self._stopping).set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    async def _tell_ready(self, started: float) -> None:
        for event in self._healthy.values():
            await event.wait()
        self._ready(time.monotonic() - started)

    async def _keep(self, service: Service) -> None:
        """Starts the service when what it needs is healthy, and again whenever it ends."""
        for name in service.needs:
            await self._healthy[name].wait()
        if not service.command:
            await self._wait_healthy(service)
            return
        backoff = Backoff(first=0.2)
        while True:
            started = time.monotonic()
            process = await self._start(service)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._relay(service.name, process))
                    waiting = group.create_task(self._wait_healthy(service))
                    code = await process.wait()
                    waiting.cancel()
            finally:
                if process.returncode is not None:
                    del self._processes[service.name]
            if time.monotonic() - started > _STEADY:
                backoff.reset()
            pause = backoff.next()
            self._say(service.name, f"{_ending(code)}; starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _start(self, service: Service) -> asyncio.subprocess.Process:
        handed = [
            ("--fd", each.fileno()) for each in self._shared.get(service.name, []) + self._own.get(service.name, [])
        ]
        for other in self._services if handed else ():
            if other.name != service.name and other.bind == service.bind:
                handed += [("--spare-fd", each.fileno()) for each in self._shared[other.name]]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            _TETHER,
            str(os.getpid()),
            *service.command,
            *(argument for option, number in handed for argument in (option, str(number))),
            pass_fds=[number for _, number in handed],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Out of the terminal's group: Ctrl-C reaches us alone, and we end them in order.
            start_new_session=True,
        )
        self._processes[service.name] = process
        return process

    async def _wait_healthy(self, service: Service) -> None:
        """Returns once the service is healthy; says every 10 s that it is not yet."""
        patience = time.monotonic() + 10
        while not await self._is_healthy(service):
            if time.monotonic() > patience:
                self._say(service.name, "not healthy yet")
                patience += 10
            await asyncio.sleep(0.1)
        self._healthy[service.name].set()

    def _is_healthy(self, service: Service) -> Awaitable[bool]:
        if service.healthy_at is None or service.name not in self._own:
            return service.healthy()
        return service.healthy_at("{}:{}".format(*self._own[service.name][0].getsockname()))

    async def _relay(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Says what the process prints, line by line."""
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(_MAX_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(name, line.decode(errors="replace").rstrip())
        if rest:
            self._say(name, rest.decode(errors="replace").rstrip())

    async def _end_all(self) -> None:
        """Ends what runs, last started first; at once when cancelled or signalled again."""
        # The processes have their own hold on them.
        _close([*self._shared.values(), *self._own.values()])
        hurry = asyncio.create_task(self._hurrying.wait(), name="second signal")
        try:
            for service in reversed(self._services):
                if process := self._processes.get(service.name):
                    await self._end(service.name, process, hurry)
        finally:
            hurry.cancel()
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)

    async def _end(self, name: str, process: asyncio.subprocess.Process, hurry: asyncio.Task[bool]) -> None:
        _signal(process, signal.SIGTERM)
        ended = asyncio.create_task(self._relay_to_the_end(name, process), name=f"end {name}")
        await asyncio.wait({ended, hurry}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            if not hurry.done():
                self._say(name, f"does not end within {self._grace:g} s")
            _signal(process, signal.SIGKILL)
        self._say(name, _ending(await ended))

    async def _relay_to_the_end(self, name: str, process: asyncio.subprocess.Process) -> int:
        await self._relay(name, process)
        return await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}" if code else "ended"
    return f"ended by {signal.Signals(-code).name}"


def check_free(binds: Iterable[str]) -> None:
    """Raises StartError with one line that names every address that cannot be listened on."""
    _close(listen(binds).values())


def listen(binds: Iterable[str], *, shared: bool = False) -> dict[str, list[socket.socket]]:
    """Listens on every address, and on each that its host's name stands for. Raises StartError as `check_free` does.

    shared: others may listen there too, if they say so.
    """
    opened: dict[str, list[socket.socket]] = {}
    wrong = []
    for bind in binds:
        try:
            opened[bind] = _listen(*split_address(bind), shared=shared)
        except OSError as error:
            wrong.append(f"{bind} ({error.strerror})")
    if wrong:
        _close(opened.values())
        raise StartError(f"cannot listen on {', '.join(wrong)}")
    return opened


def _listen(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(*kind)) for *kind, _name, _address in found]
        for each, (*_, address) in zip(sockets, found, strict=True):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if each.family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
            each.listen(_BACKLOG)
        opened.pop_all()
    return sockets


def _close(opened: Iterable[Iterable[socket.socket]]) -> None:
    for sockets in opened:
        for each in sockets:
            each.close()
