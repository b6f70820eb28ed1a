"""One process of the system under trial: started, killed, stopped, frozen and started again."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from cqrs.transport.process import StartError
from cqrssite.environment import BASE_DIR

_PARENT_DEATH = str(BASE_DIR / "cqrssite" / "stack" / "parent_death.py")


class Process:
    """A command that is run again and again; its output, over all its lives, goes to one file.

    up: whether it serves; called only while it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        up: Callable[[], Awaitable[bool]],
        *,
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        # How often it was started.
        self.life = 0
        self._command = command
        self._environment = environment
        self._log = log
        self._up = up
        self._before_start = before_start
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process id; None before the first start."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts it; it ends when this process ends, however that happens."""
        self._before_start()
        self.life += 1
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                _PARENT_DEATH,
                str(os.getpid()),
                *self._command,
                cwd=BASE_DIR,
                env=dict(self._environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                # Out of the terminal's group: Ctrl-C reaches this process alone, which ends the others.
                start_new_session=True,
            )

    async def wait_up(self, within: float = 20.0) -> None:
        """Returns once it is up. Raises StartError when it ended, or is not up after so many seconds."""
        try:
            async with asyncio.timeout(within):
                while self.running:
                    if await self._up():
                        return
                    await asyncio.sleep(0.1)  # each call takes CPU from its start
        except TimeoutError:
            raise StartError(f"{self.name} is not up {within:g} s after its start:\n{self.last_lines()}") from None
        code = self._process.returncode if self._process is not None else None
        raise StartError(f"{self.name} ended by itself with status {code}:\n{self.last_lines()}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; none when it has ended."""
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """kill -9, and gone when this returns."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self, within: float = 10.0) -> bool:
        """SIGTERM, and gone when this returns; False when it did not end within so many seconds and was killed."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within):
                if self._process is not None:
                    await self._process.wait()
        except TimeoutError:
            await self.kill()
            return False
        return True

    def last_lines(self, count: int = 15) -> str:
        """The last lines that it wrote."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-count:])
