"""A subscriber that reconnects wherever it was cut off, and records every notice it saw."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from chaos.history import Notice, Watcher
from chaos.subject import Subject

_QUERY = """subscription ($contact: String, $after: String) {{
  {0.changed}({0.id}: $contact, afterPosition: $after) {{
    position kind commandId contactId: {0.id} reason contact: {0.query} {{ name: {0.name} version }}
  }}
}}"""
# Errors that mean "later". A subscriber that resumes must not get any other.
_LATER = frozenset({"UNAVAILABLE"})


class Watching:
    """Keeps one watcher subscribed, from the beginning of the history on.

    gateways: name to address; it goes from one to the next when it is cut off. on_notice: called for each, once.
    """

    # Seconds without any message, not even a pong, after which the connection is given up.
    SILENCE = 3.0

    def __init__(
        self,
        watcher: Watcher,
        gateways: Mapping[str, str],
        subject: Subject,
        on_notice: Callable[[Notice], None],
        dice: random.Random,
    ) -> None:
        self.watcher = watcher
        self._query = _QUERY.format(subject)
        self._gateways = list(gateways.values())
        self._on_notice = on_notice
        self._dice = dice
        # The first notice it sees.
        self.first: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()

    @property
    def position(self) -> str:
        """Of the last notice seen; "0" before the first."""
        return self.watcher.seen[-1].position if self.watcher.seen else "0"

    async def run(self) -> None:
        """Until cancelled."""
        turn = 0
        while True:
            # The gateway is away, was killed or is frozen, as the trial intends.
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._watch(self._gateways[turn % len(self._gateways)])
            turn += 1
            await asyncio.sleep(self._dice.uniform(0.05, 0.2))

    async def _watch(self, address: str) -> None:
        """One connection, until it ends."""
        async with connect(
            f"ws://{address}/graphql",
            subprotocols=[Subprotocol("graphql-transport-ws")],
            open_timeout=self.SILENCE,
            ping_interval=self.SILENCE / 2,
            ping_timeout=self.SILENCE,
            close_timeout=0.5,
            max_queue=1000,
        ) as socket:
            await _send(socket, type="connection_init")
            async with asyncio.timeout(self.SILENCE):
                await socket.recv()
            self.watcher.connections += 1
            payload = {
                "query": self._query,
                "variables": {"contact": self.watcher.contact_id or None, "after": self.position},
            }
            await _send(socket, type="subscribe", id="1", payload=payload)
            async for message in socket:
                if not await self._receive(socket, orjson.loads(message)):
                    return

    async def _receive(self, socket: ClientConnection, message: dict[str, Any]) -> bool:
        """False when the subscription has ended."""
        match message["type"]:
            case "ping":
                await _send(socket, type="pong")
            case "next" if not message["payload"].get("errors"):
                self._record(message["payload"]["data"]["contactChanged"])
            case "next" | "error":
                errors = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
                for error in errors:
                    if error.get("extensions", {}).get("code") not in _LATER:
                        self.watcher.refusals.append(f"after {self.position}: {error}")
                return False
            case "complete":
                return False
        return True

    def _record(self, payload: dict[str, Any]) -> None:
        contact = payload["contact"] or {}
        notice = Notice(
            position=payload["position"],
            kind=payload["kind"],
            command_id=payload["commandId"] or "",
            contact_id=payload["contactId"],
            name=contact.get("name") or "",
            version=contact.get("version") or 0,
            reason=payload["reason"] or "",
        )
        self.watcher.seen.append(notice)
        if not self.first.done():
            self.first.set_result(notice)
        self._on_notice(notice)


async def _send(socket: ClientConnection, **message: object) -> None:
    await socket.send(orjson.dumps(message).decode())
