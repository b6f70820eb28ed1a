"""docs/your-own-aggregate.md as it is meant: its files are written, its commands run, its documents executed."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.package.project import ROOT, Project
from tests.support.probes import HOST, free_port, until

PAGE = ROOT / "docs" / "your-own-aggregate.md"
# The test's own environment has what these would download.
DOWNLOADS = ("python -m venv", "pip install")
SERVICES = ("gateway", "reader", "database", "broker")


class Block(NamedTuple):
    """A block of code of the page."""

    language: str
    code: str


def blocks() -> Iterator[Block]:
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        yield Block(language, code)


class Reader:
    """Follows the page in a project, block by block."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.address = {f"{each.upper()}_BIND": f"{HOST}:{free_port()}" for each in SERVICES}
        self._stack: subprocess.Popen[bytes] | None = None
        self._socket: ClientConnection | None = None
        self._answer: Any = None

    @property
    def url(self) -> str:
        return f"http://{self.address['GATEWAY_BIND']}"

    @property
    def log(self) -> Path:
        return self.project.folder.parent / "runstack.log"

    def follow(self, block: Block) -> None:
        match block.language:
            case "sh":
                for line in block.code.splitlines():
                    self._command(line)
            case "python" | "proto":
                self._write(block.code)
            case "graphql":
                self._execute(block.code)
            case "json":
                received = self._received()
                assert received == json.loads(block.code), received
            case language:
                raise AssertionError(f"nobody knows what to do with {language}")

    def close(self) -> None:
        """Ends the stack as Ctrl-C does."""
        if self._socket:
            self._socket.close()
        if self._stack:
            self._stack.send_signal(signal.SIGINT)
            assert self._stack.wait(timeout=60) == 0, self.log.read_text()

    def _command(self, line: str) -> None:
        if line.startswith(DOWNLOADS):
            return
        if line == "python manage.py runstack":
            with self.log.open("wb") as out:
                self._stack = self.project.start(line, out)
            until(lambda: "Ready in" in self.log.read_text(), within=90, what="all is ready", show=self.log.read_text)
        else:
            self.project.bash(line)

    def _write(self, code: str) -> None:
        comment, _, rest = code.partition("\n")
        at_the_end, path = re.fullmatch(r"(?:#|//) (at the end of )?(\S+)", comment).groups()  # type: ignore[union-attr]
        file = self.project.folder / path
        file.write_text((file.read_text() if at_the_end else "") + code if at_the_end else rest)
        if path == "shop/settings.py":
            self.project.settings(CQRS=f"CQRS | {self.address!r}")

    def _execute(self, document: str) -> None:
        if document.startswith("subscription"):
            self._socket = connect(
                self.url.replace("http", "ws") + "/graphql",
                subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
            )
            self._socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(self._socket.recv(10))["type"] == "connection_ack"
            self._socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": document}}))
        else:
            self._answer = httpx.post(f"{self.url}/graphql", json={"query": document}, timeout=10).json()

    def _received(self) -> Any:
        """The answer to the last document or, where that was seen, the next notice."""
        answer, self._answer = self._answer, None
        if answer is not None:
            return answer
        assert self._socket is not None
        while (message := json.loads(self._socket.recv(20)))["type"] == "ping":
            self._socket.send(json.dumps({"type": "pong"}))
        return message["payload"]
