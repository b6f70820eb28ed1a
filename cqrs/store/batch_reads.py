"""Answers to many reads at once, in two queries at most for each aggregate."""

from collections.abc import Sequence

from cqrs.aggregate import registry
from cqrs.store.database import cursor
from protocol.cqrs_read_pb2 import Answer, Key, ReadReply
from protocol.rules import count_error, id_error

# Bytes of the states in one reply; a gRPC message holds 4 MiB.
MAX_STATES = 3_500_000


class _Asked:
    """The keys of one aggregate, and the serialized states that answer them."""

    def __init__(self, aggregate: str) -> None:
        self.declared = registry().get(aggregate)
        self.error = "" if self.declared else f"there is no aggregate {aggregate[:100]}"
        self.ids: list[str] = []
        self.most = 0
        self.by_id: dict[str, bytes] = {}
        self.first: list[bytes] = []


def read(keys: Sequence[Key]) -> ReadReply:
    """One answer for each key, in their order. An answer says what is wrong with its key; a missing id has no state."""
    asked: dict[str, _Asked] = {}
    places: list[tuple[_Asked, str | int, str]] = []
    for key in keys:
        aggregate = key.aggregate
        its = asked.get(aggregate)
        if its is None:
            its = asked[aggregate] = _Asked(aggregate)
        # An id is what most ask for. A text that is no id is none of a row, and may be one that the database refuses.
        if what := key.id:
            error = its.error or id_error(what)
            if not error:
                its.ids.append(what)
            places.append((its, what, error or ""))
        else:
            places.append((its, key.page.count, its.error or _page_error(key, its)))
    with cursor() as on:
        for its in asked.values():
            if its.declared and its.ids:
                its.by_id = its.declared.store.read(on, its.ids)
            if its.declared and its.most:
                its.first = its.declared.store.first(on, its.most)
    return _reply(places)


def _page_error(key: Key, its: _Asked) -> str:
    what = key.WhichOneof("what")
    if what == "id":
        return id_error(key.id) or ""
    if what != "page":
        return "a key asks for an id or for a page"
    error = count_error(key.page.count)
    its.most = its.most if error else max(its.most, key.page.count)
    return error or ""


def _reply(places: Sequence[tuple[_Asked, str | int, str]]) -> ReadReply:
    reply, size = ReadReply(), 0
    for its, what, error in places:
        answer: Answer = reply.answer.add()
        if error:
            answer.error = error
        elif isinstance(what, str):
            state = its.by_id.get(what)
            if state is not None:
                size += len(state)
                answer.state.append(state)
        else:
            states = its.first[:what]
            size += sum(map(len, states))
            answer.state.extend(states)
        if size > MAX_STATES:
            answer.Clear()
            answer.error = f"the answers exceed {MAX_STATES} bytes: ask for fewer at once"
    return reply
