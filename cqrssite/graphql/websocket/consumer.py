"""GraphQL over WebSocket: the graphql-transport-ws protocol, for queries, mutations and subscriptions.

Closes with the protocol's codes, and these:
1009  a message is larger than MAX_MESSAGE
1012  the gateway stops; connect again, and go on from the last position seen
4413  the client reads too slowly, or does not answer pings; connect again, and go on from the last position seen
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from cqrssite.asgi_apps import Message, Receive, Scope, Send
from cqrssite.graphql.actor import actor_of
from cqrssite.graphql.context import Context, Services, WebSettings, settle_seconds
from cqrssite.graphql.engine.errors import BAD_USER_INPUT, UNAVAILABLE, plain
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.errors import BadInput
from cqrssite.graphql.http.origins import HostPolicy, OriginPolicy, headers_of
from cqrssite.graphql.http.request import read_request
from cqrssite.graphql.websocket.flow_control import SendWindow, WindowFull
from cqrssite.graphql.websocket.operations import TOO_SLOW, SocketOperations

log = logging.getLogger("cqrssite.graphql")

PROTOCOL = "graphql-transport-ws"
MAX_MESSAGE = 256 * 1024
"""Characters of a message from the client."""
MAX_OPERATIONS = 100
"""Operations under way on one socket."""
INIT_SECONDS = 5.0
"""How long a client may take until connection_init."""
PING_SECONDS = 25.0
"""How often the client is pinged, and how long it may take to answer."""

INVALID_MESSAGE = 4400
UNAUTHORIZED = 4401
NOT_ACCEPTABLE = 4406
INIT_TIMEOUT = 4408
ALREADY_EXISTS = 4409
TOO_MANY_INITS = 4429
TOO_LARGE = 1009


class GraphQLConsumer(AsyncWebsocketConsumer):
    """One socket. Channels routes it and turns its events into calls; how it is run and ended is its own."""

    def __init__(
        self,
        gateway: Callable[[], Services],
        settings: WebSettings,
        *,
        init_seconds: float = INIT_SECONDS,
        ping_seconds: float = PING_SECONDS,
        window: Callable[[], SendWindow] = SendWindow,
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._hosts = HostPolicy(settings.allowed_hosts)
        self._origins = OriginPolicy(settings.allowed_origins)
        self._settle_seconds = settle_seconds(settings.delay)
        self._init_seconds = init_seconds
        self._ping_seconds = ping_seconds
        self._window = window()
        self._headers: dict[bytes, bytes] = {}
        self._initialised = False
        self._closed = False
        self._watch: asyncio.Task[None] | None = None
        self._operations = SocketOperations(
            self._context, partial(self._window.reserve, 0), self._send_text, self._close
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one event after the other. (Channels makes a task for each, for channel layers.)"""
        self.scope, self.base_send = scope, send
        try:
            with suppress(StopConsumer):
                while True:
                    await self.dispatch(await receive())
        finally:
            # However the socket ends, by the client, by us or by a server that stops: its operations end with it.
            self._closed = True
            await self._end_tasks()
            # Breaks the cycle of references, which would keep both in memory until the next garbage collection.
            del self._operations

    async def dispatch(self, message: Message) -> None:
        """Handles one event. (Channels switches to a thread before each, for ORM connections: none is used here.)"""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        self._headers = headers_of(self.scope["headers"])
        error = self._hosts.error(self._headers) or self._origins.error(self._headers)
        if error:
            log.warning("a WebSocket is refused: %s", error)
            await self.close()  # Before accept: the handshake is answered with 403.
            return
        if PROTOCOL not in self.scope.get("subprotocols", ()):
            await self.accept()
            await self._close(NOT_ACCEPTABLE, "Subprotocol not acceptable")
            return
        await self.accept(PROTOCOL)
        self._watch = asyncio.create_task(self._watch_client(), name="websocket watch")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._closed:
            return
        if text_data is None:
            await self._close(INVALID_MESSAGE, "messages are text, not binary")
            return
        if len(text_data) > MAX_MESSAGE:
            await self._close(TOO_LARGE, f"a message may have {MAX_MESSAGE} characters")
            return
        try:
            message = orjson.loads(text_data)
            await self._handle(message if isinstance(message, dict) else {})
        except orjson.JSONDecodeError as error:
            await self._refuse(text_data, f"Invalid message: {error}")
        except BadInput as error:
            await self._close(INVALID_MESSAGE, f"Invalid message: {error}")
        except WindowFull as error:
            await self._close(TOO_SLOW, str(error))

    async def _refuse(self, text: str, reason: str) -> None:
        """Answers a message that orjson does not read: with an error of its operation, or else by closing."""
        try:
            # Reads strings that are no Unicode, of which half a pair of surrogates is one.
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        match message:
            case {"type": "subscribe", "id": str(operation_id)} if _is_unicode(operation_id) and self._initialised:
                error = plain(reason, BAD_USER_INPUT)
                await self._send({"id": operation_id, "type": "error", "payload": [error]})
            case _:
                await self._close(INVALID_MESSAGE, reason)

    async def _handle(self, message: dict[str, Any]) -> None:
        payload = message.get("payload")
        match message.get("type"):
            case "connection_init" if payload is None or isinstance(payload, dict):
                await self._initialise()
            case "ping" if payload is None or isinstance(payload, dict):
                await self._pong(payload)
            case "pong" if payload is None or isinstance(payload, dict):
                self._window.on_pong()
            case "subscribe":
                operation_id = _id_of(message)
                await self._subscribe(operation_id, read_request(payload))
            case "complete":
                self._operations.cancel(_id_of(message))
            case kind:
                raise BadInput(f"{kind!r} is no message of {PROTOCOL}, or its payload is none")

    async def _pong(self, payload: dict[str, Any] | None) -> None:
        message = {"type": "pong"} if payload is None else {"type": "pong", "payload": payload}
        try:
            text = orjson.dumps(message).decode()
        except orjson.JSONEncodeError:
            # orjson reads what is nested deeper than it writes. The payload is optional.
            text = '{"type":"pong"}'
        await self._send_text(text)

    async def _initialise(self) -> None:
        if self._initialised:
            await self._close(TOO_MANY_INITS, "Too many initialisation requests")
            return
        self._initialised = True
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, operation_id: str, request: GraphQLRequest) -> None:
        if not self._initialised:
            await self._close(UNAUTHORIZED, "Unauthorized")
        elif operation_id in self._operations:
            await self._close(ALREADY_EXISTS, f"Subscriber for {operation_id} already exists")
        elif len(self._operations) >= MAX_OPERATIONS:
            message = f"one socket has at most {MAX_OPERATIONS} operations under way"
            await self._send({"id": operation_id, "type": "error", "payload": [plain(message, UNAVAILABLE)]})
        else:
            self._operations.start(operation_id, request)

    def _context(self, width: Callable[[], int]) -> Context:
        return Context(
            self._gateway, partial(actor_of, self._headers), settle_seconds=self._settle_seconds, width=width
        )

    async def _watch_client(self) -> None:
        """Closes a socket without a timely connection_init or pong."""
        await asyncio.sleep(self._init_seconds)
        if not self._initialised:
            await self._close(INIT_TIMEOUT, "Connection initialisation timeout")
            return
        while self._window.ping_pending_for < self._ping_seconds:
            if not self._window.ping_pending:
                await self._ping()
            await asyncio.sleep(self._ping_seconds)
        await self._close(TOO_SLOW, f"no pong within {self._ping_seconds:g} s")

    async def _ping(self) -> None:
        self._window.on_ping()
        await self.send('{"type":"ping"}')

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(orjson.dumps(message).decode())

    async def _send_text(self, text: str) -> None:
        """Sends once the window has room. Raises WindowFull when it has none in time."""
        await self._window.reserve(len(text))
        if self._closed:
            return
        try:
            await self._window.send(self.send(text))
        except OSError:
            # The client has left. Its disconnect event, which ends everything, is on its way.
            self._closed = True
            return
        if self._window.should_ping and not self._closed:
            await self._ping()

    async def _close(self, code: int, reason: str) -> None:
        """Closes once; operations under way end."""
        if self._closed:
            return
        self._closed = True
        log.debug("a WebSocket is closed with %d: %s", code, reason)
        for task in [*self._operations.tasks, self._watch]:
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        # A reason has at most 123 bytes. A stalled peer does not take this message either: then the server gives up.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._window.seconds):
                await self.close(code, reason.encode()[:123].decode(errors="ignore"))

    async def websocket_disconnect(self, message: Message) -> None:
        """Ends the socket. (Channels switches to a thread here too.)"""
        await self.disconnect(message["code"])
        raise StopConsumer

    async def disconnect(self, code: int) -> None:
        self._closed = True
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        tasks = [task for task in [*self._operations.clear(), self._watch] if task is not None]
        self._watch = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_unicode(text: str) -> bool:
    return bool(text) and not any("\ud800" <= character <= "\udfff" for character in text)


def _id_of(message: dict[str, Any]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not operation_id:
        raise BadInput("id must be a non-empty string")
    return operation_id
