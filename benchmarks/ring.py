"""The real processes of one system, on free ports and with databases of their own."""

import asyncio
import contextlib
import functools
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from chaos.ports import free_address
from chaos.process import Process
from cqrs.transport.grpc_server import is_healthy
from cqrs.transport.process import StartError
from cqrssite.environment import BASE_DIR
from cqrssite.stack.health import answers_http, answers_mqtt

DELAY = 3.0


class Ring:
    """Broker, database, reader, writer and gateways; up within `running`.

    var: a folder with both databases, migrated. delay: seconds.
    program: what is run in the place of `manage.py`, by kind of process.
    """

    def __init__(
        self,
        var: Path,
        *,
        gateways: int = 1,
        delay: float = DELAY,
        program: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.var = var
        self.delay = delay
        self.processes: dict[str, Process] = {}
        self.gateways = [free_address() for _ in range(gateways)]
        # Seconds from the start of the processes until the gateways say that everything is there.
        self.start_seconds = 0.0
        self._broker, self._database, self._reader = free_address(), free_address(), free_address()
        self._program = program or {}
        self._lay_out()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything is up within the context, and nothing of it is left after it."""
        started = time.monotonic()
        try:
            await asyncio.gather(*(process.start() for process in self.processes.values()))
            await asyncio.gather(*(process.wait_up(within=60) for process in self.processes.values()))
            self.start_seconds = time.monotonic() - started
            yield
        finally:
            await asyncio.gather(*(process.kill() for process in self.processes.values()))

    def pid(self, name: str) -> int:
        pid = self.processes[name].pid
        if pid is None:
            raise StartError(f"{name} does not run")
        return pid

    def _lay_out(self) -> None:
        self._add("broker", self._manage("broker", "runbroker"), lambda: answers_mqtt(self._broker))
        self._add("database", self._manage("database", "rundatabase"), lambda: is_healthy(self._database))
        self._add("reader", self._manage("reader", "runreader"), lambda: is_healthy(self._reader))
        self._add("writer", self._manage("writer", "runwriter"), self._writer_is_up)
        for number, address in enumerate(self.gateways, 1):
            name = "gateway" if len(self.gateways) == 1 else f"gateway-{number}"
            up = functools.partial(answers_http, address, "/readyz")
            self._add(name, self._manage("gateway", "rungateway"), up, gateway_bind=address)

    def _manage(self, kind: str, *arguments: str) -> Sequence[str]:
        return (*self._program.get(kind, (sys.executable, "manage.py")), *arguments)

    def _add(self, name: str, command: Sequence[str], up: Callable[[], Awaitable[bool]], **settings: object) -> None:
        environment = environment_of(
            var=self.var,
            delay=self.delay,
            broker_bind=self._broker,
            database_bind=self._database,
            reader_bind=self._reader,
            **settings,
        )
        self.processes[name] = Process(name, command, environment, self.var / f"{name}.log", up)

    async def _writer_is_up(self) -> bool:
        # It listens nowhere, and says in its log when it has subscribed.
        return "ready: commands" in (self.var / "writer.log").read_text(errors="replace")


async def migrated(folder: Path) -> Path:
    """Makes a folder with both databases migrated, and nothing in them."""
    var = folder / "template"
    var.mkdir()
    await asyncio.gather(*(_migrate(var, database) for database in ("default", "contacts")))
    return var


async def _migrate(var: Path, database: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "migrate", "--database", database, "--verbosity", "0"),
        cwd=BASE_DIR,
        env=environment_of(var=var),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise StartError(f"the databases cannot be migrated:\n{output.decode(errors='replace')}")


def environment_of(**settings: object) -> dict[str, str]:
    """The environment of a process: these settings, and none of the caller's or of a `.env`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTS_")}
    environment |= {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "cqrssite.settings", "CONTACTS_ENV_FILE": ""}
    return environment | {f"CONTACTS_{name.upper()}": str(value) for name, value in settings.items()}


def find_mosquitto() -> str | None:
    """Where Mosquitto is installed, if it is."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def mosquitto(address: str, folder: Path) -> Sequence[str]:
    """The command that runs Mosquitto at an address, without persistence, as the embedded broker is."""
    program = find_mosquitto()
    if program is None:
        raise StartError("mosquitto is not installed (apt install mosquitto)")
    host, _, port = address.rpartition(":")
    config = folder / "mosquitto.conf"
    # As much as fits: by default it queues 1,000 messages for a subscriber and drops the rest.
    config.write_text(f"listener {port} {host}\nallow_anonymous true\nmax_queued_messages 0\n")
    return (program, "-c", str(config))
