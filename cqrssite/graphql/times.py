"""Times as GraphQL shows them: ISO 8601, UTC, to the millisecond."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp


@lru_cache(256)
def iso(moment: datetime) -> str:
    """For example 2026-01-31T12:00:00.000Z. Expects an aware time."""
    # Cached, since commands that are journaled together have one time.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(stamp: Timestamp) -> str:
    """The same of a protobuf timestamp."""
    # Contacts come in lists, and their times to the second are much the same: formatting each takes four times as long.
    nanos = stamp.nanos
    if not 0 <= nanos < 1_000_000_000:
        return iso(datetime.fromtimestamp(stamp.ToMilliseconds() / 1000, UTC))
    return f"{_second(stamp.seconds)}.{nanos // 1_000_000:03d}Z"


@lru_cache(4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def ms_until(moment: datetime, *, at_most: timedelta) -> int:
    """Milliseconds from now to then, rounded up; 0 when it is past, `at_most` where the clock was set back."""
    left = min(moment - datetime.now(UTC), at_most).total_seconds()
    return max(0, -int(-left * 1000 // 1))
