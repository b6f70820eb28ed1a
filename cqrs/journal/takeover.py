"""What becomes of overdue commands that must not be sent twice: each is taken over by one gateway, or given up."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from cqrs.journal import rows
from cqrs.journal.journal import Journal
from cqrs.journal.record import Record
from cqrs.journal.relay import Relay

# Seconds overdue until a command that a gateway never got to send is taken over, and until one that was sent is given
# up as HANDED_OVER.
TAKE_OVER = 10.0
GIVE_UP = 60.0


class Takeover:
    """The sweep's steps where commands are delivered at most once. Each tells whether it could be done.

    send: sends rows of this process; False: the broker is away.
    """

    def __init__(self, journal: Journal, relay: Relay, send: Callable[[Sequence[Record]], Awaitable[bool]]) -> None:
        self._journal = journal
        self._relay = relay
        self._send = send

    async def hand_over(self, overdue: Sequence[Record]) -> bool:
        """What the broker has is not sent again; of what others left we cannot know, so it is sent once."""
        ours = [record for record in overdue if record.owner == self._journal.owner]
        self._journal.hand_over([record.command_id for record in ours if self._relay.acknowledged(record)])
        return await self._take_over([record for record in overdue if record.owner != self._journal.owner])

    async def take_over_or_give_up(self, unknown: Sequence[Record]) -> bool:
        """Gives up those that the broker has had for long, and takes over those that their gateway did not send."""
        silent = self._overdue(unknown, GIVE_UP)
        self._journal.hand_over([record.command_id for record in silent if record.sent_at is not None])
        unsent = [record for record in unknown if record.sent_at is None and record.owner != self._journal.owner]
        return await self._take_over(self._overdue(unsent, TAKE_OVER))

    def _overdue(self, records: Sequence[Record], seconds: float) -> list[Record]:
        moment = self._journal.clock.now() - timedelta(seconds=seconds)
        return [record for record in records if record.takes_effect_at < moment]

    async def _take_over(self, records: Sequence[Record]) -> bool:
        # Taken first: were their gateway alive after all, it would read its rows anew before it sends them.
        for owner in {record.owner for record in records}:
            numbers = [record.number for record in records if record.owner == owner]
            if not await self._send(await self._take(owner, numbers)):
                return False
        return True

    async def _take(self, owner: str, numbers: Sequence[int]) -> list[Record]:
        return await self._journal.write(lambda: rows.take_over(self._journal.owner, owner, numbers))
