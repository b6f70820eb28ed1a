"""Flow control: bounds how much is under way to a client that it has not shown to have received.

Servers differ in how long `send` waits: some until the socket takes the bytes, some not at all, so that messages for a
stalled client would pile up in memory. The protocol's own ping and pong tell, whatever the server: a pong says that
everything sent before its ping has arrived.
"""

import asyncio
from collections.abc import Awaitable

from cqrssite.serving.deadlines import Deadlines

MAX_UNACKNOWLEDGED = 4 * 1024 * 1024
"""Characters that may be under way to a client."""
SECONDS = 10.0
"""How long sending waits for a client to make room."""


class WindowFull(Exception):
    """The client reads too slowly."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no room for a message within {seconds:g} s")


class SendWindow:
    """The flow-control window of one socket."""

    def __init__(self, limit: int = MAX_UNACKNOWLEDGED, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.ping_pending = False
        """Whether a ping is unanswered."""
        self._deadlines = Deadlines(seconds)
        self._limit = limit
        # Characters since the socket was opened.
        self._sent = 0
        self._acknowledged = 0
        self._sent_before_ping = 0
        self._pinged_at = 0.0
        self._room = asyncio.Event()

    @property
    def ping_pending_for(self) -> float:
        """Seconds since a ping that is not answered yet; 0 when there is none."""
        return asyncio.get_running_loop().time() - self._pinged_at if self.ping_pending else 0.0

    @property
    def should_ping(self) -> bool:
        """Whether it is time to learn how much has arrived."""
        return not self.ping_pending and self._sent - self._acknowledged > self._limit // 2

    def on_ping(self) -> None:
        """Notes that a ping is being sent."""
        self.ping_pending = True
        self._pinged_at = asyncio.get_running_loop().time()
        self._sent_before_ping = self._sent

    def on_pong(self) -> None:
        """Notes a pong. An unsolicited one says nothing."""
        if self.ping_pending:
            self.ping_pending = False
            self._acknowledged = self._sent_before_ping
            self._room.set()

    async def reserve(self, length: int) -> None:
        """Returns when a message of this length may be sent, and counts it. Raises WindowFull."""
        while self._sent - self._acknowledged > self._limit:
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
