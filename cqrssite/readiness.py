"""/healthz: this process lives. /readyz: whether it can serve, and which of the parts it stands on are well.

/readyz answers 200 with status "ready", or "degraded" while all is served but something is amiss: the broker is away,
or the writer of a whole ring (mutations are accepted and flow when it is back), the read side knows only the contract
(no notices, no outcomes), or the database was reset or restored (mutations are accepted and wait until an operator has
decided).
It answers 503 with status "unavailable" when mutations cannot be journaled, which is found out by writing to the
journal, or when aggregates cannot be read.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import orjson

from cqrs.aggregate import registry
from cqrs.gateway import Gateway
from cqrs.journal.errors import CommandError
from cqrs.query.errors import ReadError
from cqrssite.asgi_apps import Receive, Scope, Send
from cqrssite.wiring import GatewayNotOpen

# An id that no aggregate has; asking for it reaches the database service through the reader.
_NOBODY = "readyz"
# Seconds that a part may take to answer.
_WITHIN = 1.0
# Seconds between two writes to the journal, at least: each waits for the disk.
_WRITE_EVERY = 1.0


class Part(NamedTuple):
    """How one part is. `needed`: without it the gateway cannot serve."""

    ok: bool
    needed: bool
    why: str = ""


class Probes:
    """The ASGI application of both probes."""

    def __init__(
        self,
        gateway: Callable[[], Gateway],
        *,
        write_every: float = _WRITE_EVERY,
    ) -> None:
        self._gateway = gateway
        self._journal = _JournalCheck(write_every)
        self._checking: asyncio.Task[dict[str, Part]] | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, {"status": "method not allowed"}, (b"allow", b"GET, HEAD"))
        elif scope["path"] == "/healthz":
            await _answer(send, 200, {"status": "ok"})
        else:
            await self._answer_ready(send)

    async def _answer_ready(self, send: Send) -> None:
        try:
            parts = await self._parts()
        except GatewayNotOpen as error:
            await _answer(send, 503, {"status": "unavailable", "why": str(error)})
            return
        if all(part.ok for part in parts.values()):
            code, status = 200, "ready"
        elif all(part.ok for part in parts.values() if part.needed):
            code, status = 200, "degraded"
        else:
            code, status = 503, "unavailable"
        shown = {name: {"ok": part.ok} | ({"why": part.why} if part.why else {}) for name, part in parts.items()}
        await _answer(send, code, {"status": status, **shown})

    async def _parts(self) -> dict[str, Part]:
        """Checks every part. Probes that come while a check runs share it, so that probing costs no more."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(self._gateway()), name="readyz")
        return await asyncio.shield(self._checking)

    async def _check(self, gateway: Gateway) -> dict[str, Part]:
        journal, (reader, database) = await asyncio.gather(self._journal.part(gateway), self._read_side(gateway))
        return {
            "journal": journal,
            "broker": _broker(gateway),
            "reader": reader,
            "database": database,
            "notices": _notices(gateway),
            "history": _history(gateway),
            **{name: _other(trouble()) for name, trouble in gateway.others.items()},
        }

    async def _read_side(self, gateway: Gateway) -> tuple[Part, Part]:
        """The reader and, behind it, the database service."""
        try:
            await gateway.reader.get(next(iter(registry()), ""), _NOBODY, timeout=_WITHIN)
        except ReadError as error:
            if await gateway.reader.is_healthy():
                return Part(True, True), Part(False, True, f"the reader cannot read: {error}")
            why = f"no healthy reader at {gateway.reader.address}"
            return Part(False, True, why), Part(False, True, "not known without the reader")
        return Part(True, True), Part(True, True)


class _JournalCheck:
    """Whether the journal can be written. A write that hangs is waited for, not joined by another."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._began = 0.0
        self._writing: asyncio.Task[None] | None = None

    async def part(self, gateway: Gateway) -> Part:
        now = asyncio.get_running_loop().time()
        if self._writing is None or (self._writing.done() and now - self._began >= self._every):
            self._began = now
            self._writing = asyncio.create_task(gateway.journal.check_writable(), name="readyz journal")
        done, _ = await asyncio.wait([self._writing], timeout=_WITHIN)
        if not done:
            return Part(False, True, f"is not written within {_WITHIN:g} s")
        error = None if self._writing.cancelled() else self._writing.exception()
        if error is not None and not isinstance(error, CommandError):
            raise error
        return Part(error is None, True, "" if error is None else str(error))


def _broker(gateway: Gateway) -> Part:
    if gateway.link.connected:
        return Part(True, False)
    return Part(False, False, "not connected; mutations are accepted and flow when it is back")


def _notices(gateway: Gateway) -> Part:
    match gateway.feed.state:
        case "live":
            return Part(True, False)
        case "missing":
            return Part(False, False, "the read side knows only the contract: no notices, no outcomes")
        case state:
            return Part(False, False, state)


def _history(gateway: Gateway) -> Part:
    """Whether the database is the one that this system has followed."""
    return Part(not gateway.history_guard.lost, False, gateway.history_guard.lost)


def _other(trouble: str) -> Part:
    return Part(not trouble, False, trouble)


async def _answer(send: Send, code: int, body: dict[str, object], *headers: tuple[bytes, bytes]) -> None:
    content = orjson.dumps(body) + b"\n"
    await send(
        {
            "type": "http.response.start",
            "status": code,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(content)).encode()),
                (b"cache-control", b"no-store"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": content})
