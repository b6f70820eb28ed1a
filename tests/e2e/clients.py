"""Clients as strangers would write them: GraphQL over HTTP, and over WebSocket with graphql-transport-ws."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import httpx
import websockets

Json = dict[str, Any]

# The example's documents, as its README has them; ids as variables, since ours are not its.
LIST_CONTACTS = "query ListContacts { listContacts(count: 10) { id name last_updated } }"
ADD_CONTACT = 'mutation AddContact { addContact(name: "John HUEBR") { status message } }'
UPDATE_CONTACT = """mutation UpdateContact($id: String!) {
  updateContact(id: $id, name: "John HUEBR (2)") { status message } }"""
DELETE_CONTACT = "mutation DeleteContact($id: String!) { deleteContact(id: $id) { status message } }"
CONTACT = "query Contact($id: String!) { contact(id: $id) { id name last_updated } }"

ADD = "mutation($name: String!) { addContact(name: $name) { status message commandId contactId takesEffectInMs } }"
UPDATE = """mutation($id: String!, $name: String!) {
  updateContact(id: $id, name: $name) { status message commandId contactId } }"""
DELETE = "mutation($id: String!) { deleteContact(id: $id) { status message commandId contactId } }"
COMMAND = "query($id: String!) { command(id: $id) { id kind contactId state message reason actor settledAt version } }"
NAMES = "{ listContacts(count: 1000) { name } }"
CHANGED = """subscription($contactId: String, $commandId: String, $afterPosition: String) {
  contactChanged(contactId: $contactId, commandId: $commandId, afterPosition: $afterPosition) {
    position kind commandId contactId message reason committedAt contact { id name lastUpdated version } } }"""


class Client:
    """GraphQL over HTTP at one gateway."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=15, limits=httpx.Limits(max_connections=8))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.aclose()

    async def execute(self, document: str, *, path: str = "/graphql", **variables: object) -> Json:
        """The answer as it is: data, errors."""
        answer = await self._http.post(path, json={"query": document, "variables": variables})
        result: Json = answer.json()
        return result

    async def data(self, document: str, *, path: str = "/graphql", **variables: object) -> Json:
        """The data of an answer that has no errors."""
        answer = await self.execute(document, path=path, **variables)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data

    async def code(self, document: str, **variables: object) -> str:
        """The code of an answer's only error."""
        answer = await self.execute(document, **variables)
        (error,) = answer["errors"]
        code: str = error["extensions"]["code"]
        return code

    async def add(self, name: str) -> Json:
        added: Json = (await self.data(ADD, name=name))["addContact"]
        return added

    async def names(self) -> list[str]:
        return [contact["name"] for contact in (await self.data(NAMES))["listContacts"]]

    async def command(self, command_id: str) -> Json:
        command: Json = (await self.data(COMMAND, id=command_id))["command"]
        return command

    async def state(self, command_id: str) -> str:
        state: str = (await self.command(command_id))["state"]
        return state

    async def readiness(self) -> Json:
        """What /readyz says; its code is checked against its status."""
        answer = await self._http.get("/readyz")
        said: Json = answer.json()
        assert answer.status_code == (503 if said["status"] == "unavailable" else 200), said
        return said

    async def is_whole(self) -> bool:
        """Whether /readyz says that nothing is amiss."""
        return bool((await self.readiness())["status"] == "ready")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._http.get(path, headers=headers)


class Notices:
    """What arrives of one subscription."""

    def __init__(self, socket: websockets.ClientConnection, field: str) -> None:
        self._socket = socket
        self._field = field

    async def next(self, within: float = 15) -> Json:
        """The next notice; fails when the server ends the subscription, or after so many seconds."""
        async with asyncio.timeout(within):
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "ping":
                    await self._socket.send('{"type": "pong"}')
                    continue
                assert message["type"] == "next", message
                assert "errors" not in message["payload"], message
                notice: Json = message["payload"]["data"][self._field]
                return notice

    async def take(self, count: int, within: float = 15) -> list[Json]:
        """The next so many."""
        async with asyncio.timeout(within):
            return [await self.next(within) for _ in range(count)]

    async def until_seen(self, command_ids: set[str], within: float = 15) -> list[Json]:
        """All notices up to that by which each of these commands has one."""
        missing, notices = set(command_ids), []
        try:
            async with asyncio.timeout(within):
                while missing:
                    notices.append(await self.next(within))
                    missing.discard(notices[-1]["commandId"])
        except TimeoutError:
            raise AssertionError(
                f"{len(missing)} of {len(command_ids)} commands have no notice after {within} s: {sorted(missing)[:5]}"
            ) from None
        return notices


@contextlib.asynccontextmanager
async def subscribed(url: str, document: str = CHANGED, **variables: object) -> AsyncIterator[Notices]:
    """A subscription on a socket of its own, which the server has read when this yields."""
    address = url.replace("http://", "ws://") + "/graphql"
    async with websockets.connect(address, subprotocols=[websockets.Subprotocol("graphql-transport-ws")]) as socket:
        assert socket.subprotocol == "graphql-transport-ws"
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": document, "variables": variables}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        field = re.search(r"{\s*(\w+)", document)
        assert field, document
        yield Notices(socket, field.group(1))


async def eventually(
    condition: Callable[[], Awaitable[object]], *, within: float, what: str, every: float = 0.05
) -> None:
    """Polls until `condition` is true, taking a connection that fails for false; fails after so many seconds."""
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            last = await condition()
        except httpx.TransportError as error:
            last = error
        if last and not isinstance(last, Exception):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what} (last: {last!r})")
        await asyncio.sleep(every)
