"""The answer to the sender of a command."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple


def its_id(answer: Any, field: str) -> str:
    """The id under its aggregate's name, for example `contact_id`; raises AttributeError for another name."""
    if field == f"{answer.aggregate}_id":
        return str(answer.aggregate_id)
    raise AttributeError(f"{type(answer).__name__!r} object has no attribute {field!r}", name=field, obj=answer)


class Accepted(NamedTuple):
    """The promise that a command is journaled. Times are UTC. The id is there under its aggregate's name too."""

    command_id: str
    aggregate: str
    aggregate_id: str
    accepted_at: datetime
    takes_effect_at: datetime


if not TYPE_CHECKING:  # so that the type checker goes on finding misspelt names
    Accepted.__getattr__ = its_id
