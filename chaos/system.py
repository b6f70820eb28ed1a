"""The real processes of a whole system on free ports, with a proxy in each connection between them."""

import asyncio
import contextlib
import functools
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from django.conf import settings as own

from chaos.ports import HOST, free_address
from chaos.process import Process
from chaos.proxy import Link, MqttLink
from cqrs.transport.grpc_server import is_healthy
from cqrs.transport.process import StartError
from cqrssite.environment import BASE_DIR, Environment
from cqrssite.stack.health import answers_http, answers_mqtt


class System:
    """Broker, database, reader, writer and gateways, and the links between them.

    folder: gets the databases and the logs. broker: "amqtt" or "mosquitto".
    database_url: of a PostgreSQL database for journal and store; empty: each is in a file of the folder.
    programs: by kind of process, the command run in the place of `manage.py`, for tests that plant a bug.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gateways: int = 2,
        broker: str = "amqtt",
        delay: float = 0.3,
        database_url: str = "",
        programs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.processes: dict[str, Process] = {}
        self.links: dict[str, Link] = {}
        self.gateways = {f"gateway-{number}": free_address() for number in range(1, gateways + 1)}
        self.reader_address = free_address()
        self._broker, self._database = free_address(), free_address()
        self._folder = folder
        self._broker_kind = broker
        self._delay = delay
        self._databases = {"journal_url": database_url, "database_url": database_url} if database_url else {}
        self._programs = programs or {}
        self._writer_subscribed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything is up within the context, and nothing of it is left after it."""
        try:
            await self._migrate()
            await self._lay_out()
            for process in self.processes.values():
                await process.start()
            for process in self.processes.values():
                await process.wait_up()
            yield
        finally:
            for process in self.processes.values():
                await process.kill()
            for link in self.links.values():
                await link.close()

    async def end(self) -> list[str]:
        """Ends all processes in order by SIGTERM; returns the names of those that had to be killed."""
        return [name for name, process in reversed(self.processes.items()) if not await process.stop()]

    async def show_notices(self) -> str:
        """The address at which all notices can be read, once the load has ended."""
        return self.reader_address

    async def _migrate(self) -> None:
        (self._folder / "var").mkdir(parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            migrating = [group.create_task(self._migrate_one(database)) for database in ("default", "contacts")]
        for output in filter(None, [one.result() for one in migrating]):
            raise StartError(f"the databases cannot be migrated:\n{output}")

    async def _migrate_one(self, database: str) -> str:
        """Its output when it failed; empty when it did not."""
        migrate = await asyncio.create_subprocess_exec(
            *self._manage("migrate", "migrate", "--database", database, "--verbosity", "0"),
            cwd=BASE_DIR,
            env=self._environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await migrate.communicate()
        return output.decode(errors="replace") or "it failed" if migrate.returncode else ""

    async def _lay_out(self) -> None:
        writer_broker = MqttLink("writer-broker", self._broker, self._writer_subscribed.set)
        writer_database = await self._link(Link("writer-database", self._database))
        reader_database = await self._link(Link("reader-database", self._database))
        await self._link(writer_broker)

        self._add("broker", self._broker_command(), lambda: answers_mqtt(self._broker))
        self._add("database", self._manage("database", "rundatabase"), lambda: is_healthy(self._database))
        self._add(
            "reader",
            self._manage("reader", "runreader"),
            lambda: is_healthy(self.reader_address),
            database_read_address=reader_database.address,
        )
        self._add(
            "writer",
            self._manage("writer", "runwriter"),
            self._writer_is_up,
            broker_address=writer_broker.address,
            database_write_address=writer_database.address,
        )
        for name, address in self.gateways.items():
            broker = await self._link(MqttLink(f"{name}-broker", self._broker))
            reader = await self._link(Link(f"{name}-reader", self.reader_address))
            self._add(
                name,
                self._manage("gateway", "rungateway"),
                functools.partial(answers_http, address, "/healthz"),
                gateway_bind=address,
                broker_address=broker.address,
                reader_address=reader.address,
            )

    async def _link(self, link: Link) -> Link:
        await link.start()
        self.links[link.name] = link
        return link

    def _add(self, name: str, command: Sequence[str], up: Callable[[], Awaitable[bool]], **settings: object) -> None:
        before_start = self._writer_subscribed.clear if name == "writer" else lambda: None
        log = self._folder / f"{name}.log"
        self.processes[name] = Process(name, command, self._environment(**settings), log, up, before_start=before_start)

    async def _writer_is_up(self) -> bool:
        # It listens nowhere; it is up once it has subscribed at the broker.
        return self._writer_subscribed.is_set()

    def _manage(self, kind: str, *arguments: str) -> Sequence[str]:
        return (*self._programs.get(kind, (sys.executable, "manage.py")), *arguments)

    def _broker_command(self) -> Sequence[str]:
        if self._broker_kind != "mosquitto":
            return self._manage("broker", "runbroker")
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise StartError("mosquitto is not installed (apt install mosquitto)")
        config = self._folder / "mosquitto.conf"
        config.write_text(f"listener {self._broker.rpartition(':')[2]} {HOST}\nallow_anonymous true\n")
        return (program, "-c", str(config))

    def _environment(self, **settings: object) -> dict[str, str]:
        """Gives every setting, so that neither the caller's environment nor a `.env` gets in."""
        values: dict[str, object] = {name: field.get_default() for name, field in Environment.model_fields.items()}
        values |= {
            "env_file": "",
            "extra_apps": own.CONTACTS.extra_apps,
            "var": self._folder / "var",
            "delay": self._delay,
            "broker_bind": self._broker,
            "database_bind": self._database,
            "reader_bind": self.reader_address,
            **self._databases,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTS_")}
        environment |= {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "cqrssite.settings"}
        for name, value in (values | settings).items():
            environment[f"CONTACTS_{name.upper()}"] = ",".join(value) if isinstance(value, list) else str(value)
        return environment
