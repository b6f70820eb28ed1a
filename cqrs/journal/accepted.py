"""The answer to the sender of a command."""

from datetime import datetime
from typing import NamedTuple


class Accepted(NamedTuple):
    """The promise that a command is journaled. Times are UTC."""

    command_id: str
    aggregate: str
    aggregate_id: str
    accepted_at: datetime
    takes_effect_at: datetime
