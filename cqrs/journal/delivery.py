"""What commands may be sent how often: decided once, by what the parts at the other ends turned out to be.

The site chooses with `delivery` and hands the choice to journal, relay and sweep, which ask it and know no more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocol import topics
from protocol.cqrs_command_pb2 import CommandMeta


@dataclass(frozen=True, slots=True)
class AtLeastOnce:
    """Parts that know our messages: a command is sent until its notice is there, and takes effect once."""

    repeats = True
    tells_outcomes = True
    batch_size = topics.BATCH_SIZE

    def stamp(self, meta: CommandMeta, waited_ms: int, seen: str) -> None:
        """Completes the meta of a command that is sent now.

        seen: the position of a notice; a database whose history lacks it defers the command.
        """
        meta.waited_ms = waited_ms
        meta.seen = seen


@dataclass(frozen=True, slots=True)
class AtMostOnce:
    """Parts that know only the contract: what the broker has acknowledged is never sent again, nor cancelled.

    tells_outcomes: whether notices come of it all the same; if not, the acknowledgement ends a command (HANDED_OVER).
    batch_size: commands in one message; 1: on the contract's topics alone.
    """

    tells_outcomes: bool
    batch_size: int

    repeats = False

    def stamp(self, meta: CommandMeta, waited_ms: int, _seen: str) -> None:
        """Completes the meta of a command that is sent now: it waits for no other, and goes to any database."""
        meta.waited_ms = waited_ms
        for field in ("depends_on", "cancelled", "seen"):
            meta.ClearField(field)


Delivery = AtLeastOnce | AtMostOnce
Deliveries = Callable[[], Delivery]
"""The delivery of the moment: a part may be replaced by one that knows more, or less."""


def at_least_once() -> Delivery:
    return AtLeastOnce()


def choose(*, foreign_writer: bool, tells_outcomes: bool) -> Delivery:
    """How to deliver to these parts.

    foreign_writer: the writer may know only the contract. tells_outcomes: the read side has notices.
    """
    if tells_outcomes and not foreign_writer:
        return AtLeastOnce()
    return AtMostOnce(tells_outcomes, 1 if foreign_writer else topics.BATCH_SIZE)
