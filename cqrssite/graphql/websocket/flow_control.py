"""How much is on its way to a client that it has not shown to have received.

Servers differ in what `send` waits for: some for the socket, some for nothing, so that what a stalled client does not
take would pile up in memory. The protocol's own ping and pong tell, whatever the server: a pong says that all that was
sent before its ping has arrived.
"""

import asyncio
from collections.abc import Awaitable

from cqrssite.serving.deadlines import Deadlines

MAX_UNSEEN = 4 * 1024 * 1024
"""Characters that may be under way to a client."""
SECONDS = 10.0
"""How long sending waits for a client to make room."""


class WindowFull(Exception):
    """The client takes what it is sent too slowly."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no room for a message within {seconds:g} s")


class SendWindow:
    """The window of one socket."""

    def __init__(self, limit: int = MAX_UNSEEN, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._deadlines = Deadlines(seconds)
        self.asked = False
        """Whether a ping is unanswered."""
        self._limit = limit
        self._sent = 0
        self._seen = 0
        self._seen_if_answered = 0
        self._asked_at = 0.0
        self._room = asyncio.Event()

    @property
    def unanswered_for(self) -> float:
        """Seconds since a ping that is not answered yet; 0 when there is none."""
        return asyncio.get_running_loop().time() - self._asked_at if self.asked else 0.0

    @property
    def should_ask(self) -> bool:
        """Whether it is time to learn what has arrived."""
        return not self.asked and self._sent - self._seen > self._limit // 2

    def ask(self) -> None:
        """Notes that a ping is being sent."""
        self.asked = True
        self._asked_at = asyncio.get_running_loop().time()
        self._seen_if_answered = self._sent

    def answered(self) -> None:
        """Notes a pong. One that was not asked for says nothing."""
        if self.asked:
            self.asked = False
            self._seen = self._seen_if_answered
            self._room.set()

    async def room_for(self, length: int) -> None:
        """Returns when a message of this length may be sent, and counts it. Raises WindowFull."""
        while self._sent - self._seen > self._limit:
            self._room.clear()
            try:
                async with asyncio.timeout(self.seconds):
                    await self._room.wait()
            except TimeoutError:
                raise WindowFull(self.seconds) from None
        self._sent += length

    async def send(self, sending: Awaitable[None]) -> None:
        """Bounds a send that waits for the socket. Raises WindowFull."""
        try:
            with self._deadlines.limit():
                await sending
        except TimeoutError:
            raise WindowFull(self.seconds) from None
