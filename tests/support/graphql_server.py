"""GraphQL over a real server, with the gateway of a test."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from cqrssite.graphql.http.endpoint import GraphQLEndpoint
from cqrssite.graphql.websocket.consumer import GraphQLConsumer
from cqrssite.serving.write_corking import CorkedHttpProtocol
from tests.support.fake_gateway import FakeGateway, Settings
from tests.support.polling import eventually


@asynccontextmanager
async def served(gateway: FakeGateway) -> AsyncIterator[int]:
    """The port of a server with GraphQL over HTTP and WebSocket."""
    http = GraphQLEndpoint(lambda: gateway, Settings())  # type: ignore[arg-type, return-value]
    sockets = GraphQLConsumer.as_asgi(gateway=lambda: gateway, settings=Settings())

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await (sockets if scope["type"] == "websocket" else http)(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application, interface="asgi3", lifespan="off", access_log=False, http=CorkedHttpProtocol,
                       log_config=None, ws_per_message_deflate=False, timeout_graceful_shutdown=1)
    )  # fmt: skip
    task = asyncio.create_task(server.serve([listening]))
    await eventually(lambda: server.started)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def body(query: str) -> bytes:
    content = json.dumps({"query": query}).encode()
    head = "POST /graphql HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def read_response(reader: asyncio.StreamReader) -> Any:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return json.loads(await reader.readexactly(int(length.split(b":")[1])))
