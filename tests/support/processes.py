"""The real processes, for tests: on free ports, with their own databases, killed at will, none left behind.

with Stack(delay=0.3) as stack:
    stack.start_ring()
    stack["reader"].kill()
    stack["reader"].start()
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.support.probes import (
    HOST,
    answers_grpc,
    answers_http,
    answers_mqtt,
    free_port,
    is_whole,
    need_binary,
    readiness,
    until,
)

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "foreign"

# Seconds for a process to start on a machine that is busy with others.
START = 40.0

_open_stacks: list["Stack"] = []


class Stack:
    """A folder, ports and settings, and the processes that share them; leaving it ends them all.

    delay: of the commands, in seconds. settings: further fields of `cqrssite.environment.Environment`.
    """

    def __init__(self, *, delay: float = 0.5, migrated: bool = True, **settings: object) -> None:
        template = _migrated_databases() if migrated else None
        self.folder = Path(tempfile.mkdtemp(prefix="contacts-"))
        self.var = self.folder / "var"
        if template:
            shutil.copytree(template, self.var)
        else:
            self.var.mkdir()
        self.address = {role: f"{HOST}:{free_port()}" for role in ("broker", "database", "reader", "gateway")}
        self.services: dict[str, Service] = {}
        self._settings: dict[str, object] = {
            "env_file": "",
            "var": self.var,
            "delay": delay,
            "broker_bind": self.address["broker"],
            "database_bind": self.address["database"],
            "reader_bind": self.address["reader"],
            "gateway_bind": self.address["gateway"],
            "broker_address": self.address["broker"],
            "database_read_address": self.address["database"],
            "database_write_address": self.address["database"],
            "reader_address": self.address["reader"],
        } | settings
        _open_stacks.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> "Service":
        return self.services[name]

    @property
    def url(self) -> str:
        """Where the first gateway answers."""
        return f"http://{self.address['gateway']}"

    # What can be in it. None of these starts anything.

    def broker(self) -> "Service":
        address = self.address["broker"]
        return self.add("broker", manage("runbroker"), ready=lambda: answers_mqtt(address))

    def mosquitto(self) -> "Service":
        """Mosquitto as Debian ships it, in the broker's place; without persistence, like ours."""
        address = self.address["broker"]
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {address.rpartition(':')[2]} {HOST}\nallow_anonymous true\n")
        command = [need_binary("/usr/sbin/mosquitto"), "-c", str(config)]
        return self.add("broker", command, ready=lambda: answers_mqtt(address))

    def database(self, *arguments: str) -> "Service":
        address = self.address["database"]
        return self.add("database", manage("rundatabase", *arguments), ready=lambda: answers_grpc(address))

    def reader(self) -> "Service":
        address = self.address["reader"]
        return self.add("reader", manage("runreader"), ready=lambda: answers_grpc(address))

    def writer(self) -> "Service":
        return self.add("writer", manage("runwriter"))

    def gateway(self, name: str = "gateway", *, server: str = "uvicorn", address: str | None = None) -> "Service":
        """A gateway under "uvicorn" or "runserver", at the stack's address unless another is given."""
        address = address or self.address["gateway"]
        if server == "uvicorn":
            host, _, port = address.rpartition(":")
            command = [sys.executable, "-m", "uvicorn", "cqrssite.asgi:application", "--interface", "asgi3"]
            command += ["--host", host, "--port", port, "--no-access-log"]
        else:
            command = manage("runserver", address, "--noreload")
        return self.add(name, command, ready=lambda: answers_http(f"http://{address}/healthz"), gateway_bind=address)

    def ring(self, name: str = "ring", *, address: str | None = None) -> "Service":
        """A whole ring in one process, at the stack's address unless another is given."""
        address = address or self.address["gateway"]
        return self.add(
            name, manage("runring"), ready=lambda: answers_http(f"http://{address}/healthz"), gateway_bind=address
        )

    def foreign(self, role: str, *, name: str = "", address: str | None = None) -> "Service":
        """A stand-in of `tests/foreign` for our database, reader, writer or gateway, at its address unless told."""
        from tests.foreign.stubs import contract_stubs

        name = name or role
        at = self.address | ({role: address} if address else {})
        ready: dict[str, Callable[[], bool]] = {
            "database": lambda: answers_grpc(at["database"]),
            "reader": lambda: answers_grpc(at["reader"]),
            "writer": lambda: "subscribed" in self.services[name].log(),
            "gateway": lambda: answers_http(f"http://{at['gateway']}/healthz"),
        }
        command = [sys.executable, str(FOREIGN / f"{role}.py"), "--delay", str(self._settings["delay"])]
        for other in ("broker", "database", "reader", "gateway"):
            command += [f"--{other}", at[other]]
        service = self.add(name, command, ready=ready[role])
        service.environment["PYTHONPATH"] = str(contract_stubs())
        return service

    def add(
        self, name: str, command: Sequence[str], *, ready: Callable[[], bool] = lambda: True, **settings: object
    ) -> "Service":
        """A process by this name; `settings` are its own besides those of the stack."""
        environment = _environment(self._settings | settings)
        self.services[name] = Service(name, command, environment, self.folder / f"{name}.log", ready)
        return self.services[name]

    # What is done with it.

    def start_ring(self) -> Self:
        """Starts our five services at once and waits until the gateway says that all of them are there."""
        self.broker(), self.database(), self.reader(), self.writer(), self.gateway()
        return self.start()

    def start(self, *, ready: bool = True) -> Self:
        """Starts what does not run and waits until it answers; with `ready`, until the ring is whole."""
        for service in self.services.values():
            if not service.running:
                service.start(wait=False)
        for service in self.services.values():
            service.wait_ready()
        if ready:
            self.wait_whole()
        return self

    def wait_whole(self, within: float = START) -> None:
        """Waits until the first gateway says that journal, broker, reader and database are there."""
        until(
            lambda: is_whole(self.url),
            within=within,
            what="/readyz says that all is there",
            show=lambda: str(readiness(self.url)),
        )

    def pids(self) -> list[int]:
        """The processes alive that were started with this stack's folder, whoever started them (Linux)."""
        marks = (f"CONTACTS_VAR={self.var}\0".encode(), f"CONTACTS_VAR={self.var}".encode())
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes() + b"\0"
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if marks[0] in environ and state != "Z":
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Ends every process, also those that a process of the stack started; removes the folder."""
        for service in self.services.values():
            service.kill()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _open_stacks.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)


class Service:
    """One process, in a process group of its own; its output, over all its lives, goes to one file."""

    def __init__(
        self, name: str, command: Sequence[str], environment: dict[str, str], log: Path, ready: Callable[[], bool]
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = environment
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Starts it; with `wait`, returns once it answers."""
        assert not self.running, f"{self.name} runs already"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, within: float = START) -> None:
        """Waits until it answers; fails at once when it ended."""

        def answers() -> bool:
            assert self.running, f"{self.name} ended with {self._process and self._process.returncode}:\n{self.log()}"
            return self._ready()

        until(answers, within=within, what=f"{self.name} answers", show=self.log)

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def terminate(self, within: float = 15) -> int:
        """SIGTERM; returns the exit code."""
        self._signal(signal.SIGTERM)
        return self.wait_end(within)

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def wait_end(self, within: float = START) -> int:
        """The exit code; fails when it still runs after so many seconds."""
        assert self._process is not None, f"{self.name} was never started"
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {within} s:\n{self.log()}") from None

    def log(self) -> str:
        """Everything it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.killpg(self.pid, number)


def manage(*arguments: str) -> list[str]:
    """The command line of a management command."""
    return [sys.executable, "manage.py", *arguments]


def run_manage(stack: Stack, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a management command of the stack to its end; fails when it fails."""
    return subprocess.run(
        manage(*arguments),
        cwd=ROOT,
        env=_environment(stack._settings) | environment,
        capture_output=True,
        text=True,
        timeout=START,
        check=True,
    )


def logs_of_open_stacks(lines: int = 60) -> list[tuple[str, str]]:
    """(service, the last lines it wrote) of all that is open: what a failed test shows."""
    return [
        (service.name, "\n".join(service.log().splitlines()[-lines:]))
        for stack in _open_stacks
        for service in stack.services.values()
    ]


def _environment(settings: dict[str, object]) -> dict[str, str]:
    """The environment of a process: these settings, and nothing of the caller's or of a `.env`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTS_")}
    environment |= {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "cqrssite.settings", "CONTACTS_ENV_FILE": ""}
    return environment | {f"CONTACTS_{name.upper()}": str(value) for name, value in settings.items()}


@functools.cache
def _migrated_databases() -> Path:
    """A var folder with both databases migrated, made once a test run and copied for each stack."""
    folder = Path(tempfile.mkdtemp(prefix="contacts-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environment = _environment({"var": folder})
    for database in ("default", "contacts"):
        command = manage("migrate", "--database", database, "--verbosity", "0")
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"the databases cannot be migrated:\n{done.stderr}"
    return folder
