"""A GraphQL client over HTTP that tells a request that never left from one whose answer was lost."""

import asyncio
from typing import Any

import orjson

from cqrs.transport.addresses import split_address

_MAX_ANSWER = 8 * 1024 * 1024


class NotSent(Exception):
    """The gateway cannot be reached: the request certainly had no effect."""


class AnswerLost(Exception):
    """The request may have arrived; its answer did not."""


class GraphQLClient:
    """One connection to one gateway, kept open; one request at a time.

    deadline: seconds for a request and its answer.
    """

    def __init__(self, address: str, *, deadline: float = 3.0) -> None:
        self._address = address
        self._deadline = deadline
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def execute(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The GraphQL answer as it came (`data`, `errors`). Raises NotSent or AnswerLost."""
        body = orjson.dumps({"query": query, "variables": variables or {}})
        try:
            async with asyncio.timeout(self._deadline):
                reader, writer = await self._connect()
                writer.write(
                    f"POST /graphql HTTP/1.1\r\nHost: {self._address}\r\nContent-Type: application/json\r\n"
                    f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
                status, answer = await self._read(reader)
        except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
            self.close()
            raise AnswerLost(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        except asyncio.CancelledError:
            self.close()
            raise
        try:
            parsed = orjson.loads(answer)
        except orjson.JSONDecodeError:
            raise AnswerLost(f"HTTP {status}: {answer[:200]!r}") from None
        if not isinstance(parsed, dict) or not ("data" in parsed or "errors" in parsed):
            raise AnswerLost(f"HTTP {status}: {answer[:200]!r}")
        return parsed

    def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
        self._connection = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is not None and self._connection[0].at_eof():
            self.close()
        if self._connection is None:
            try:
                self._connection = await asyncio.open_connection(*split_address(self._address), limit=_MAX_ANSWER)
            except OSError as error:
                raise NotSent(str(error)) from error
        return self._connection

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            body = await reader.read(_MAX_ANSWER)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, body
