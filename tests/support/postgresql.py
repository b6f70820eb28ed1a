"""A PostgreSQL of its own, for tests: in a temporary folder, on a free port, gone with the test run.

cluster = Cluster()
cluster.start()
url = cluster.create_database()
"""

import atexit
import functools
import glob
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.support.probes import HOST, free_port

_USER = "contacts"
# What initdb sets of the locale would make messages and orders those of the machine.
_INITDB = ("--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={_USER}", "--no-instructions")
_numbers = itertools.count(1)


class Cluster:
    """A server and its databases. durable: it writes to the disk before it says committed, as in production."""

    def __init__(self, *, durable: bool = False) -> None:
        self._bin = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.port = free_port()
        if os.getuid() == 0:
            # The server refuses to run as root.
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", f"--pgdata={self._data}", *_INITDB, *(() if durable else ("--no-sync",)))
        settings = {
            "listen_addresses": f"'{HOST}'",
            "port": self.port,
            "unix_socket_directories": "''",
            "max_connections": 200,
            # Emptying a table looks through all of them.
            "shared_buffers": "16MB",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "log_min_messages": "fatal",
        }
        lines = "".join(f"{setting} = {value}\n" for setting, value in settings.items())
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(lines)
        atexit.register(self.close)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        self._run("pg_ctl", "start", "-w", f"-D{self._data}", f"-l{self.folder / 'log'}")

    def stop(self, mode: str = "fast") -> None:
        """Stops the server: "fast" ends its sessions, "immediate" is as if it had crashed."""
        self._run("pg_ctl", "stop", "-w", f"-D{self._data}", "-m", mode)

    def close(self) -> None:
        """Stops the server and removes its folder. May be called again."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, template: str = "template1") -> str:
        """Makes a database and returns its URL."""
        name = f"ring_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str, user: str = _USER) -> str:
        return f"postgresql://{user}@{HOST}:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Executes a statement as the owner of everything, outside of a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, tool: str, *arguments: str) -> None:
        command = [str(self._bin / tool), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # To a file: the server keeps what it inherits open.
        with (self.folder / "tools").open("a+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd=self.folder, check=False)
            output.seek(0)
            assert done.returncode == 0, f"{tool} failed:\n{output.read()}"


def binaries() -> Path:
    """The folder of the newest server that is installed. Skips the test without one; in CI that is a failure."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
    if not found and (initdb := shutil.which("initdb")):
        found = [str(Path(initdb).parent)]
    if found:
        return Path(found[-1])
    missing = "PostgreSQL's server is not installed (Debian: postgresql)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@functools.cache
def cluster() -> Cluster:
    """The server that the tests of this process share, running. Skips the test where none is installed."""
    made = Cluster()
    made.start()
    return made
