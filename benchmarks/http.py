"""Requests at a given rate, over a few connections: HTTP/1.1 as bare as it can be, since the load shares the cores."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from benchmarks.wrk import LoadFailed

CONNECTIONS = 32
# Seconds between two looks at the clock: how evenly requests are spread.
_TICK = 0.002


class Answered(NamedTuple):
    """An answer and how many seconds it took."""

    content: dict[str, Any]
    seconds: float


class Connection(asyncio.Protocol):
    """One connection: sends requests, and has their answers in the order in which they were sent."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._waiting: deque[tuple[float, asyncio.Future[Answered]]] = deque()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: bytes) -> "asyncio.Future[Answered]":
        """Sends a whole request; the future gets its answer, or LoadFailed."""
        assert self._transport is not None
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.perf_counter(), answer))
        self._transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (split := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:split].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            end = split + 4 + length
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[split + 4 : end], self._rest[end:]
            sent, answer = self._waiting.popleft()
            if b" 200 " in head.split(b"\r\n", 1)[0]:
                answer.set_result(Answered(orjson.loads(body), time.perf_counter() - sent))
            else:
                answer.set_exception(LoadFailed(f"answered with {head.decode()} {body.decode(errors='replace')}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        for _, answer in self._waiting:
            answer.set_exception(LoadFailed(f"the connection was lost: {error or 'closed by the server'}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Client:
    """So many connections to one server ("host:port"), within `async with`."""

    def __init__(self, address: str, connections: int = CONNECTIONS) -> None:
        self._address = address
        self._unique = secrets.token_hex(4)
        self._number = 0
        self._count = connections
        self._connections: list[Connection] = []

    async def __aenter__(self) -> "Client":
        await self._connect()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for connection in self._connections:
            connection.close()

    async def _connect(self) -> None:
        """Opens the connections, and those again that the server closed since nothing came over them."""
        host, _, port = self._address.rpartition(":")
        loop = asyncio.get_running_loop()
        self._connections = [connection for connection in self._connections if not connection.closed]
        while len(self._connections) < self._count:
            _, connection = await loop.create_connection(Connection, host, int(port))
            self._connections.append(connection)

    def _post(self, body: str) -> "asyncio.Future[Answered]":
        """Sends a GraphQL request, each "~U~" in it made unique."""
        self._number += 1
        # Numbered within the request too: a document of many mutations has many names.
        parts = body.split("~U~")
        body = parts[0] + "".join(
            f"{self._unique}-{self._number}-{index}{part}" for index, part in enumerate(parts[1:])
        )
        head = f"POST /graphql HTTP/1.1\r\nHost: {self._address}\r\nContent-Type: application/json\r\nContent-Length: "
        request = f"{head}{len(body)}\r\n\r\n{body}".encode()
        return self._connections[self._number % self._count].send(request)

    async def at_rate(self, body: str, rate: float, seconds: float) -> Sequence[Answered]:
        """Sends `rate` requests a second, evenly, whether or not they are answered; all the answers.

        Raises LoadFailed when a request is not answered as it should be, or the rate cannot be kept.
        """
        await self._connect()
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Answered]] = []
        started = loop.time()
        while (elapsed := loop.time() - started) < seconds:
            due = int(min(elapsed, seconds) * rate) - len(answers)
            answers += [self._post(body) for _ in range(due)]
            await asyncio.sleep(_TICK)
        async with asyncio.timeout(30):
            return [checked(answered) for answered in await asyncio.gather(*answers)]

    async def at_once(self, body: str, count: int) -> Sequence[Answered]:
        """Sends so many requests at once; all the answers."""
        await self._connect()
        async with asyncio.timeout(60):
            return [checked(answered) for answered in await asyncio.gather(*(self._post(body) for _ in range(count)))]


def checked(answered: Answered) -> Answered:
    """The answer. Raises LoadFailed when it has errors: what is refused is quicker than what is done."""
    if "errors" in answered.content:
        raise LoadFailed(f"answered with errors: {str(answered.content['errors'])[:300]}")
    return answered
