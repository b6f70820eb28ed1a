"""The operations under way on one WebSocket, and the errors of theirs that end it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import orjson
from graphql import OperationType

from cqrs.query.errors import SubscriberTooSlow
from cqrssite.graphql.context import Context
from cqrssite.graphql.engine.answers import HELD, LongResponse, check_size
from cqrssite.graphql.engine.errors import UNAVAILABLE, RequestRefused, plain
from cqrssite.graphql.engine.operation import Operation
from cqrssite.graphql.engine.request import GraphQLRequest
from cqrssite.graphql.errors import FeedEnded, format_exception
from cqrssite.graphql.schema import executor
from cqrssite.graphql.websocket.flow_control import WindowFull

OPERATION_SECONDS = 30.0
"""How long a query or mutation may take."""

RESTARTING = 1012
TOO_SLOW = 4413
INTERNAL_ERROR = 4500


class SocketOperations:
    """Operations by the ids that the client gave them, each in a task of its own until its last message is sent.

    new_context: makes the context of an operation's resolvers. send: sends a message of the protocol, raises
    WindowFull. close: closes the socket, with a code and a reason.
    """

    def __init__(
        self,
        new_context: Callable[[Callable[[], int]], Context],
        ready: Callable[[], Awaitable[None]],
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int, str], Awaitable[None]],
    ) -> None:
        self._new_context = new_context
        self._ready = ready
        self._send = send
        self._close = close
        self._executor = executor()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._tasks

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of all operations."""
        return list(self._tasks.values())

    def clear(self) -> list[asyncio.Task[None]]:
        """Forgets all operations and returns their tasks, which the caller ends."""
        tasks = self.tasks
        self._tasks.clear()
        return tasks

    def start(self, operation_id: str, request: GraphQLRequest) -> None:
        """Starts an operation under an id that is free."""
        self._tasks[operation_id] = asyncio.create_task(
            self._run(operation_id, request), name=f"websocket operation {operation_id}"
        )

    def cancel(self, operation_id: str) -> None:
        """Ends an operation without a further message."""
        # An unknown id is no error: the operation may have ended while the client's message was on its way.
        task = self._tasks.pop(operation_id, None)
        if task is not None:
            task.cancel()

    async def _run(self, operation_id: str, request: GraphQLRequest) -> None:
        """Runs one operation from its start to its last message. Its id is free again just before that one is sent."""
        try:
            await self._answer(operation_id, request)
            self._release(operation_id)
            await self._send_json({"id": operation_id, "type": "complete"})
        except RequestRefused as refused:
            self._release(operation_id)
            with suppress(WindowFull):
                await self._send_json({"id": operation_id, "type": "error", "payload": refused.errors})
        except (WindowFull, SubscriberTooSlow) as error:
            await self._close(TOO_SLOW, f"too slow ({error}); go on from the last position seen")
        except FeedEnded:
            await self._close(RESTARTING, "Service restart")
        except Exception as error:  # noqa: BLE001 (it is logged there)
            # A defect outside of any resolver. The socket is closed: nobody knows which messages it lacks.
            await self._close(INTERNAL_ERROR, format_exception(error, "on a WebSocket")["message"])

    async def _answer(self, operation_id: str, request: GraphQLRequest) -> None:
        operation = await self._prepare(request)
        context = self._new_context(operation.width)
        if operation.kind is OperationType.SUBSCRIPTION:
            # The payload is the same text for all sockets; only the id around it is this operation's.
            start = f'{{"id":{orjson.dumps(operation_id).decode()},"type":"next","payload":'
            async with aclosing(self._executor.subscribe(operation, context)) as payloads:  # type: ignore[type-var]
                async for payload in payloads:
                    await self._send(f"{start}{payload}}}")
            return
        # As long as the client does not take what it was sent, nothing more is made for it.
        await self._ready()
        response = await self._execute(operation, context)
        await self._send_json({"id": operation_id, "type": "next", "payload": response})

    async def _prepare(self, request: GraphQLRequest) -> Operation:
        """The operation; documents that are new are read one at a time."""
        operation = self._executor.find(request)
        if operation is not None:
            return operation
        async with self._reading:
            return await self._executor.prepare(request)

    async def _execute(self, operation: Operation, context: Context) -> dict[str, Any]:
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                return await self._executor.execute(operation, context)
        except TimeoutError:
            message = f"not answered within {OPERATION_SECONDS:g} s; a mutation may have been accepted all the same"
            raise RequestRefused([plain(message, UNAVAILABLE)]) from None

    def _release(self, operation_id: str) -> None:
        # Unless the client has completed it already and given its id to another operation.
        if self._tasks.get(operation_id) is asyncio.current_task():
            del self._tasks[operation_id]

    async def _send_json(self, message: dict[str, Any]) -> None:
        text = orjson.dumps(message).decode()
        check_size(len(text))
        with HELD.hold(0 if isinstance(message.get("payload"), LongResponse) else len(text)):
            await self._send(text)
