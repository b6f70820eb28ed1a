"""Many mutations at once: httpx spends more on 500 requests than the gateway does, so these go over bare sockets."""

import asyncio
import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.e2e.clients import ADD, Json

CONNECTIONS = 32


async def add_all(url: str, names: Sequence[str], *, rate: float = float("inf")) -> list[Json]:
    """Adds a contact by each name, one mutation a request, over 32 connections; the answers, in no order.

    rate: the most of them in a second.
    """
    waiting = iter(enumerate(names))
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def send(address: str) -> list[Json]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        answers = []
        for number, name in waiting:
            await asyncio.sleep(started + number / rate - loop.time())
            body = json.dumps({"query": ADD, "variables": {"name": name}}).encode()
            head = f"POST /graphql HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            (length,) = [int(field.partition(":")[2]) for field in fields if field.startswith("content-length:")]
            answer = json.loads(await reader.readexactly(length))
            assert " 200 " in status, (status, answer)
            assert "errors" not in answer, answer
            answers.append(answer["data"]["addContact"])
        writer.close()
        return answers

    sent = await asyncio.gather(*(send(urlsplit(url).netloc) for _ in range(CONNECTIONS)))
    return [answer for answers in sent for answer in answers]
