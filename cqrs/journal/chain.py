"""Numbers the journal's rows and links those of one aggregate: the order in which commands take effect.

The race: whoever reads by number (`rows.unsettled_after`, the relay's cursor, the links themselves) takes it that rows
become visible in the order of their numbers. A row that its caller's transaction commits late, with a number drawn
early, would be missed for ever. Hence two kinds of numbers:

- Over 0: given here alone, in a transaction that holds the journal's lock from before it reads the highest until it
  commits. Such rows become visible in order, and are linked to the one before them of the same aggregate.
- Under 0: of rows that the Python API inserts without the lock (`rows.draw`). Nobody who reads by number sees them.
  They have no owner and no link.

Each transaction of a gateway first numbers and links the second kind (`claim`), as far as their callers have
committed: it looks when it has the lock already, so that what it sees cannot be claimed by another, and what it does
not see yet gets a higher number from a later one. The order of an aggregate is thus the order of claim; the rows of
one transaction become visible at once and keep the order of their calls.
"""

from collections.abc import Callable, Iterator, Sequence

from cqrs.journal import rows
from cqrs.journal.pending import Key
from cqrs.journal.record import Record
from protocol.cqrs_command_pb2 import Command

# Rows that one transaction claims: at 20,000 a second, what comes in a tenth.
CLAIM_AT_ONCE = 2000


class Chain:
    """The numbers and links of one transaction, which holds the journal's lock.

    highest: number of the last row. last_of: the last unsettled command of an aggregate, before this transaction.
    """

    def __init__(self, highest: int, last_of: Callable[[str, str], str]) -> None:
        self._highest = highest
        self._last_of = last_of
        self._last: dict[Key, str] = {}

    def add(self, commands: Sequence[Command]) -> Iterator[int]:
        """Links each command, unless it is linked already, and gives it its number."""
        for command in commands:
            aggregate, _, _ = command.kind.partition(".")
            key, meta = (aggregate, command.aggregate_id), command.meta
            meta.depends_on = meta.depends_on or self._last.get(key) or self._last_of(*key)
            self._last[key] = meta.command_id
            self._highest += 1
            yield self._highest

    def claim(self, owner: str) -> list[Record]:
        """Makes the rows that have no owner those of `owner`, numbered and linked; the first CLAIM_AT_ONCE."""
        found = rows.without_owner(CLAIM_AT_ONCE)
        numbers = self.add([record.command for record in found])
        claimed = [record._replace(number=number, owner=owner) for number, record in zip(numbers, found, strict=True)]
        rows.renumber([record.number for record in found], claimed)
        return claimed
