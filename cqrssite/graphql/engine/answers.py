"""Long answers: bounded before they are built and while they are, and built in parts that let others in.

A document of a kilobyte can ask for rows × fields of any number: a thousand rows of a hundred aliases of a long field
are 80 MB. All that long answers hold, until they are sent, is bounded for the whole process.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, OperationDefinitionNode

from cqrssite.graphql.engine.errors import UNAVAILABLE, RequestRefused, plain
from cqrssite.graphql.engine.plan import RootField

VALUES_AT_ONCE = 2_000
"""Values of an answer, rows times fields, that are completed and written in one go; some 2 ms."""
MAX_BYTES = 8 * 1024 * 1024
"""Bytes of one answer."""
MAX_HELD = 64 * 1024 * 1024
"""Bytes of all long answers of this process together, from when they are built until they are sent."""
LONG = 64 * 1024
"""Bytes from which on an answer counts as long."""


class Held:
    """Bytes of long answers. Raises RequestRefused where more would be held than `limit`."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        self.size = 0

    def hold(self, size: int) -> "Hold":
        """Counts so many bytes until the hold is released, or nobody has it any more."""
        if size >= LONG and self.size + size > self._limit:
            message = "too many long answers are on their way to their clients; ask again, or for less"
            raise RequestRefused([plain(message, UNAVAILABLE)])
        return Hold(self, size if size >= LONG else 0)


class Hold:
    """Bytes that are held."""

    def __init__(self, held: Held, size: int) -> None:
        self._held = held
        self._size = size
        held.size += size

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        self.release()

    def release(self) -> None:
        """Counts the bytes no longer. Harmless when repeated."""
        self._held.size -= self._size
        self._size = 0

    def __del__(self) -> None:
        self.release()


HELD = Held()
"""Of this process, whatever the connection and the transport."""


class LongResponse(dict[str, Any]):
    """A response that is counted as held as long as anybody has it."""

    hold: Hold


class Builder:
    """Completes lists of any length, one answer at a time: each gives way to all that is short."""

    def __init__(self, held: Held = HELD) -> None:
        self._held = held
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def data(self, fields: Sequence[tuple[RootField, Any]], widths: dict[str, int]) -> dict[str, Any]:
        """The response with these fields of these values, whatever they raise where one cannot be completed."""
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._loop, self._turn = loop, asyncio.Lock()
        async with self._turn:
            size, data = 0, {}
            for field, value in fields:
                data[field.name] = completed = await self._complete(field, value, widths.get(field.name, 1), size)
                if isinstance(completed, _Written):
                    size += completed.size
                    data[field.name] = completed.fragment
            response = LongResponse(data=data)
            response.hold = self._held.hold(size)
            return response

    async def _complete(self, field: RootField, value: Any, width: int, before: int) -> Any:
        if not is_long(value, width):
            return field.complete(value)
        rows = max(1, VALUES_AT_ONCE // width)
        parts, size = [], before
        for first in range(0, len(value), rows):
            part = orjson.dumps(field.complete(value[first : first + rows]))[1:-1]
            size += len(part)
            check_size(size)
            parts.append(part)
            await asyncio.sleep(0)
        return _Written(orjson.Fragment(b"[" + b",".join(parts) + b"]"), size - before)


class _Written:
    def __init__(self, fragment: orjson.Fragment, size: int) -> None:
        self.fragment = fragment
        self.size = size


def is_long(value: Any, width: int) -> bool:
    """Whether it is a list that is not completed in one go."""
    return hasattr(value, "__len__") and not isinstance(value, str) and len(value) * width > VALUES_AT_ONCE


def check_size(size: int) -> None:
    """Raises RequestRefused for an answer that is too long."""
    if size > MAX_BYTES:
        message = f"the answer is longer than {MAX_BYTES // 1024 // 1024} MiB; ask for fewer rows or fields"
        raise RequestRefused([plain(message, "BAD_USER_INPUT")])


def widths_of(document: DocumentNode, operation: OperationDefinitionNode) -> dict[str, int]:
    """How many fields, and fields below them, each field at the top of a valid operation selects."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    widths: dict[str, int] = {}
    # Selections, and the name of the field at the top that they are below.
    left: list[tuple[Any, str | None]] = [(operation.selection_set, None)]
    while left:
        selections, top = left.pop()
        for node in selections.selections:
            name = top
            if isinstance(node, FieldNode):
                name = top or (node.alias or node.name).value
                widths[name] = widths.get(name, 0) + (top is not None)
                inside = node.selection_set
            else:
                inside = getattr(node, "selection_set", None) or fragments[node.name.value].selection_set
            if inside:
                left.append((inside, name))
    return widths
