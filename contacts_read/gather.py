"""Concurrent reads become few calls: what waits when a call can be sent goes with it.

A unary gRPC call in Python costs about as much as a hundred answers in one, so reads are gathered: at most two calls
are under way, and a read joins only a call that is not sent yet. Joining one that is would break read-your-writes:
its answer may be older than what the reader of it has seen.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

# A contact id, or how many contacts to list.
Question: TypeAlias = str | int
# Contact | None, or Sequence[Contact].
Answer: TypeAlias = Any

IN_FLIGHT = 2
BATCH_QUESTIONS = 200
# A contact takes about 1,000 bytes at most, and a message of gRPC holds 4 MiB.
BATCH_CONTACTS = 3000


class Batch:
    """Distinct questions of one call, each with the callers that wait for its answer."""

    def __init__(self) -> None:
        self._callers: dict[Question, list[asyncio.Future[Answer]]] = {}
        self._contacts = 0
        # When the last of its callers gives up, on the loop's clock.
        self.ends = 0.0

    def add(self, question: Question, caller: asyncio.Future[Answer], ends: float) -> bool:
        """Takes the question in, or returns False when it has no room."""
        callers = self._callers.get(question)
        if callers is None:
            contacts = self._contacts + (question if isinstance(question, int) else 1)
            if len(self._callers) >= BATCH_QUESTIONS or (self._callers and contacts > BATCH_CONTACTS):
                return False
            self._contacts = contacts
            self._callers[question] = callers = []
        callers.append(caller)
        self.ends = max(self.ends, ends)
        return True

    def drop_abandoned(self) -> None:
        """Forgets questions whose callers have all given up."""
        for question in [each for each, callers in self._callers.items() if all(caller.done() for caller in callers)]:
            del self._callers[question]

    def __len__(self) -> int:
        return len(self._callers)

    def __iter__(self) -> Iterator[Question]:
        return iter(self._callers)

    def answer(self, question: Question, answer: Answer) -> None:
        """Hands the answer to who waits for it."""
        for caller in self._callers[question]:
            if not caller.done():
                caller.set_result(answer)

    def fail(self, question: Question, error: Exception) -> None:
        """Raises the error at who waits for the answer."""
        for caller in self._callers[question]:
            if not caller.done():
                # One for each: an exception remembers where it was raised.
                caller.set_exception(copy.copy(error))

    def fail_all(self, error: Exception) -> None:
        """Raises the error at all who still wait."""
        for question in self._callers:
            self.fail(question, error)


class Gatherer:
    """Gathers questions into batches and has them answered by `ask`, two batches at a time.

    ask: answers a batch's questions through its methods; what it raises, all callers that still wait get.
    late: makes the error of a caller whose so many seconds have passed.
    full: makes the error of a caller over the limit of `most` that wait.
    """

    def __init__(
        self,
        ask: Callable[[Batch], Awaitable[None]],
        *,
        late: Callable[[float], Exception],
        full: Callable[[int], Exception],
        most: int = 10_000,
    ) -> None:
        self._ask, self._late, self._full, self._most = ask, late, full, most
        self._unsent: deque[Batch] = deque()
        self._in_flight: dict[asyncio.Task[None], Batch] = {}
        self._waiting = 0
        self._is_scheduled = False

    async def get(self, question: Question, timeout: float) -> Answer:
        """The answer to a question, asked after this was called; `timeout` seconds count from now."""
        if self._waiting >= self._most:
            raise self._full(self._most)
        loop = asyncio.get_running_loop()
        caller: asyncio.Future[Answer] = loop.create_future()
        self._enqueue(question, caller, loop.time() + timeout)
        if not self._is_scheduled and len(self._in_flight) < IN_FLIGHT:
            # Not at once: what else is asked in this turn of the loop goes along.
            self._is_scheduled = True
            loop.call_soon(self._send)
        timer = loop.call_later(timeout, self._expire, caller, timeout)
        self._waiting += 1
        try:
            return await caller
        finally:
            self._waiting -= 1
            timer.cancel()

    async def close(self, error: Exception) -> None:
        """Ends what is under way; all who wait get the error."""
        while self._unsent:
            self._unsent.popleft().fail_all(error)
        for task, batch in self._in_flight.items():
            batch.fail_all(error)
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _enqueue(self, question: Question, caller: asyncio.Future[Answer], ends: float) -> None:
        if not (self._unsent and self._unsent[-1].add(question, caller, ends)):
            batch = Batch()
            batch.add(question, caller, ends)
            self._unsent.append(batch)

    def _expire(self, caller: asyncio.Future[Answer], timeout: float) -> None:
        if not caller.done():
            caller.set_exception(self._late(timeout))

    def _send(self) -> None:
        self._is_scheduled = False
        while self._unsent and len(self._in_flight) < IN_FLIGHT:
            batch = self._unsent.popleft()
            batch.drop_abandoned()
            if batch:
                task = asyncio.create_task(self._carry(batch), name="read batch")
                self._in_flight[task] = batch
                task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        self._send()

    async def _carry(self, batch: Batch) -> None:
        try:
            await self._ask(batch)
        except Exception as error:  # noqa: BLE001 - the callers raise it
            batch.fail_all(error)
