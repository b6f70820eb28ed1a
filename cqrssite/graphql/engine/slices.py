"""Long work on the event loop, done in slices, so that no client's document holds up what others want.

Reason: the largest documents that are answered take 0.3 s of CPU, most of it inside graphql-core. A thread is no way
out: each callback of the loop would wait for it 5 ms (the interpreter's switch interval).
Gain: another client's request waits for one slice a turn of the loop, not for whole documents.
The plain path: the same functions, called as they are; `breathe` does nothing then.

The work runs in greenlets, since graphql-core's functions cannot be suspended. Its code calls `breathe` now and then.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any, TypeVar

from greenlet import GreenletExit, greenlet

SECONDS = 0.002
"""How long a slice is: what all work together takes of one turn of the loop."""
MAX_BEGUN = 300_000
"""The size of all work that is begun and not done, in characters: a document under way takes some 100 times its own."""

T = TypeVar("T")

_running: "_Work | None" = None


def breathe() -> None:
    """Gives way when the slice is used up. To be called every few microseconds of long work."""
    if _running is not None and perf_counter() >= _running.ends:
        _running.pause()


class Slices:
    """Takes turns among the work of several callers: work that has had the fewest slices goes first."""

    def __init__(self, seconds: float = SECONDS, max_begun: int = MAX_BEGUN) -> None:
        self._seconds = seconds
        self._max_begun = max_begun
        self._begun = 0
        self._ready: list[tuple[int, int, _Work]] = []
        self._waiting: deque[_Work] = deque()
        self._numbers = count()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], T], size: int = 0) -> T:
        """What `work` returns or raises. size: in characters; much of it together waits for its turn."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        task = _Work(work, result, size)
        self._waiting.append(task)
        self._admit()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._turn)
        try:
            return await result
        finally:
            # However the caller leaves: what is not done is dropped at the next turn.
            result.cancel()
            # An exception knows this frame, and the future that: without a circle, it is freed with all it holds.
            del result, task

    def _admit(self) -> None:
        while self._waiting and (not self._begun or self._begun + self._waiting[0].size <= self._max_begun):
            task = self._waiting.popleft()
            self._begun += task.size
            heapq.heappush(self._ready, (0, next(self._numbers), task))

    def _turn(self) -> None:
        ends = perf_counter() + self._seconds
        while self._ready and perf_counter() < ends:
            turns, _, task = heapq.heappop(self._ready)
            if not task.result.done():
                task.step(ends)
            if not task.result.done():
                heapq.heappush(self._ready, (turns + 1, next(self._numbers), task))
                continue
            task.drop()
            self._begun -= task.size
            self._admit()
        # No callback as long as nothing is under way.
        if self._ready and self._loop is not None:
            self._loop.call_soon(self._turn)
        else:
            self._loop = None


class _Work:
    """One caller's work."""

    def __init__(self, work: Callable[[], Any], result: asyncio.Future[Any], size: int) -> None:
        self.result = result
        self.size = size
        self.ends = 0.0
        self._greenlet = greenlet(self._run)
        self._work = work

    def step(self, ends: float) -> None:
        """Goes on until that moment, or until the work is done."""
        global _running
        self.ends = ends
        _running = self
        try:
            self._greenlet.switch()
        finally:
            _running = None

    def pause(self) -> None:
        parent = self._greenlet.parent
        if parent is not None:
            parent.switch()

    def drop(self) -> None:
        """Ends work whose caller has left, so that what it holds is freed at once."""
        if not self._greenlet.dead:
            self._greenlet.throw(GreenletExit)
        # An exception knows the frame that it came from, and that this.
        del self._greenlet, self._work, self.result

    def _run(self) -> None:
        try:
            returned = self._work()
        except Exception as error:  # noqa: BLE001 - it is the caller's
            # StopIteration cannot be raised into a future; graphql-core lets none out.
            self.result.set_exception(error)
        else:
            self.result.set_result(returned)
