"""Answers to many reads at once, in two queries at most for each aggregate."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from cqrs.aggregate import Aggregate, registry
from cqrs.store.database import cursor
from protocol.cqrs_read_pb2 import Answer, Key, ReadReply
from protocol.rules import count_error, id_error

# Bytes of the states in one reply; a gRPC message holds 4 MiB.
MAX_STATES = 3_500_000


def read(keys: Sequence[Key]) -> ReadReply:
    """One answer for each key, in their order. An answer says what is wrong with its key; a missing id has no state."""
    by_aggregate: defaultdict[str, list[Key]] = defaultdict(list)
    for key in keys:
        by_aggregate[key.aggregate].append(key)
    reply, size = ReadReply(), 0
    with cursor() as on:
        known = {
            name: _Rows(on, declared, asked)
            for name, asked in by_aggregate.items()
            if (declared := registry().get(name)) is not None
        }
    for key in keys:
        rows = known.get(key.aggregate)
        error = f"there is no aggregate {key.aggregate[:100]}" if rows is None else _error(key)
        states = rows.states(key) if rows is not None and not error else []
        size += sum(map(len, states))
        if size > MAX_STATES:
            error, states = f"the answers exceed {MAX_STATES} bytes: ask for fewer at once", []
        reply.answer.append(Answer(error=error, state=states))
    return reply


class _Rows:
    """The states of one aggregate that its keys ask for, serialized."""

    def __init__(self, on: Any, aggregate: Aggregate, keys: Sequence[Key]) -> None:
        # A text that is no id is none of a row, and may be one that the database refuses.
        ids = {key.id for key in keys if key.WhichOneof("what") == "id" and not id_error(key.id)}
        counts = [key.page.count for key in keys if key.WhichOneof("what") == "page"]
        most = max((count for count in counts if not count_error(count)), default=0)
        found = aggregate.store.load(on, list(ids)) if ids else {}
        self._by_id = {aggregate_id: [stored.state.SerializeToString()] for aggregate_id, stored in found.items()}
        self._first = [state.SerializeToString() for state in aggregate.store.first(on, most)] if most else []

    def states(self, key: Key) -> list[bytes]:
        if key.WhichOneof("what") == "id":
            return self._by_id.get(key.id, [])
        return self._first[: key.page.count]


def _error(key: Key) -> str | None:
    match key.WhichOneof("what"):
        case "id":
            return id_error(key.id)
        case "page":
            return count_error(key.page.count)
        case _:
            return "a key asks for an id or for a page"
