"""Answers to many reads at once, in two queries at most for each aggregate."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cqrs.aggregate import registry
from cqrs.store.database import cursor
from protocol.cqrs_read_pb2 import Key, ReadReply
from protocol.rules import count_error, id_error

# Bytes of the states in one reply; a gRPC message holds 4 MiB.
MAX_STATES = 3_500_000


class _Asked(NamedTuple):
    """The keys of one aggregate; ids are ids, counts are counts."""

    ids: list[str]
    counts: list[int]


def read(keys: Sequence[Key]) -> ReadReply:
    """One answer for each key, in their order. An answer says what is wrong with its key; a missing id has no state."""
    # Each key is looked at once: its aggregate, what it asks for, and what is wrong with it.
    parsed = [(key.aggregate, *_parsed(key)) for key in keys]
    asked: defaultdict[str, _Asked] = defaultdict(lambda: _Asked([], []))
    for aggregate, what, error in parsed:
        if error is None:
            its = asked[aggregate]
            if isinstance(what, str):
                its.ids.append(what)
            else:
                its.counts.append(what)
    found = _found(asked)
    reply, size = ReadReply(), 0
    for aggregate, what, error in parsed:
        answer = reply.answer.add()
        if error is None and (error := _unknown(aggregate)) is None:
            by_id, first = found[aggregate]
            states = by_id.get(what, ()) if isinstance(what, str) else first[:what]
            size += sum(map(len, states))
            if size <= MAX_STATES:
                answer.state.extend(states)
                continue
            error = f"the answers exceed {MAX_STATES} bytes: ask for fewer at once"
        answer.error = error
    return reply


def _parsed(key: Key) -> tuple[str | int, str | None]:
    """The id or the count that a key asks for, and what is wrong with it, if anything.

    A text that is no id is none of a row, and may be one that the database refuses.
    """
    what = key.WhichOneof("what")
    if what == "id":
        return key.id, id_error(key.id)
    if what == "page":
        return key.page.count, count_error(key.page.count)
    return "", "a key asks for an id or for a page"


def _unknown(aggregate: str) -> str | None:
    return None if aggregate in registry() else f"there is no aggregate {aggregate[:100]}"


def _found(asked: Mapping[str, _Asked]) -> dict[str, tuple[dict[str, list[bytes]], list[bytes]]]:
    """By aggregate the states by id, and the first so many, serialized."""
    found = {}
    with cursor() as on:
        for aggregate, (ids, counts) in asked.items():
            if (declared := registry().get(aggregate)) is None:
                continue
            store, most = declared.store, max(counts, default=0)
            stored = store.load(on, ids) if ids else {}
            by_id = {its_id: [each.state.SerializeToString()] for its_id, each in stored.items()}
            first = [state.SerializeToString() for state in store.first(on, most)] if most else []
            found[aggregate] = (by_id, first)
    return found
