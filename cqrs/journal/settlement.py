"""What became of a command, as its journal row records it."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cqrs.journal.clock import now
from cqrs.journal.models import MAX_MESSAGE, Command
from protocol.cqrs_notice_pb2 import Notice

State = Command.State

_STATES = {
    Notice.ADDED: State.APPLIED,
    Notice.UPDATED: State.APPLIED,
    Notice.DELETED: State.APPLIED,
    Notice.REJECTED: State.REJECTED,
    Notice.CANCELLED: State.CANCELLED,
    Notice.DISCARDED: State.DISCARDED,
    Notice.PARKED: State.PARKED,
}

_REASONS = {
    Notice.NOT_FOUND: Command.Reason.NOT_FOUND,
    Notice.CONFLICT: Command.Reason.CONFLICT,
    Notice.INVALID: Command.Reason.INVALID,
}


class Settlement(NamedTuple):
    """The end of a command, or what holds it up (PARKED)."""

    state: str
    message: str = ""
    reason: str = ""
    version: int | None = None
    settled_at: datetime | None = None
    # The number of the notice that said so.
    notice: int = 0

    def follows(self, state: str) -> bool:
        """Whether a command in `state` can come to this: an end is never taken back.

        HANDED_OVER is recorded when no notice is to come; if one comes all the same, that counts.
        """
        if state == State.HANDED_OVER:
            return self.state not in (State.PARKED, State.HANDED_OVER)
        return state in (State.QUEUED, State.PARKED)

    def settle(self, row: Command) -> Command:
        """Shows it on `row` (which is not saved), if it can come to this."""
        if self.follows(row.state):
            row.state, row.message, row.reason, row.version, row.settled_at, _ = self
        return row


def settlement_of(notice: Notice) -> Settlement | None:
    """What `notice` says of its command; None for a kind that this version does not know."""
    state = _STATES.get(notice.kind)
    if state is None:
        return None
    stamp = notice.committed_at
    committed = _moment(stamp.seconds, stamp.nanos) if notice.HasField("committed_at") else now()
    return Settlement(
        state,
        notice.message[:MAX_MESSAGE],
        _REASONS.get(notice.reason, ""),
        notice.version or None,
        None if state == State.PARKED else committed,
        notice.number,
    )


@lru_cache(64)
def _moment(seconds: int, nanos: int) -> datetime:
    # All that is committed together has one time.
    return Timestamp(seconds=seconds, nanos=nanos).ToDatetime(UTC)


def handed_over() -> Settlement:
    """The end of a command of which no notice can come."""
    return Settlement(State.HANDED_OVER, "the broker has it; what became of it cannot be heard", settled_at=now())
