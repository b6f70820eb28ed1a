"""The small ASGI applications that hold the gateway's parts together."""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from cqrs.transport.process import StartError

log = logging.getLogger("cqrssite.asgi_apps")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class ByPath:
    """Hands a request to the application of exactly its path, else to `other`."""

    def __init__(self, applications: Mapping[str, Application], other: Application) -> None:
        self._applications = applications
        self._other = other

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._applications.get(scope["path"], self._other)(scope, receive, send)


class Lifespan:
    """Opens the gateway before the server accepts and closes it after the last request.

    Channels' router has no lifespan of its own. What cannot be opened stops the server with one line that says why.
    """

    def __init__(self, gateway: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._gateway = gateway

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        gateway = self._gateway()
        try:
            await gateway.__aenter__()
        except StartError as error:
            await send({"type": "lifespan.startup.failed", "message": f"The gateway cannot start: {error}"})
            return
        except Exception as error:
            # Not raised: the server would take it for an application without lifespan and serve without a gateway.
            log.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": f"The gateway cannot start: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await gateway.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


async def refuse_socket(_scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses a WebSocket on a path where there is none (the handshake is answered with 403)."""
    await receive()
    await send({"type": "websocket.close"})
