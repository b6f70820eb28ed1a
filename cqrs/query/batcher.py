"""Concurrent reads become few calls: what waits when a call can be sent goes with it.

Reason: a call to the reader, be it on a stream that is open, costs more than what is asked and answered in it, on each
hop. Gain, at 64 connections, beside one read a call: 5.8 times as many reads a second (by unary calls). One call under
way, beside two: a read takes 28 us less CPU of all processes (by unary calls; 13 on streams, beside a second call as
soon as 12 wait).
The plain path: `Connection.call` for each read; every answer is that of a call sent after the read was asked for.

One call is under way, and what comes meanwhile goes with the next: the more comes, the fuller it is. Only when that
call is slow (a long list), or enough waits for the next, is a second one sent beside it, so that gateway and reader
have something to do both. A read joins only a call that is not sent yet. Joining one that is would break
read-your-writes: its answer may be older than what the reader of it has seen.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

# A contact id, or how many contacts to list.
Question: TypeAlias = str | int
# Contact | None, or Sequence[Contact].
Answer: TypeAlias = Any

# Calls under way: one, and another when that is slow or enough waits.
IN_FLIGHT = 2
# Questions that are worth a second call.
ENOUGH = 24
# Seconds after which a call is slow.
SLOW = 0.01
# Seconds between two looks for callers whose time is up: so much later than they asked for do they hear of it, at most.
EXPIRE_EVERY = 0.05
BATCH_QUESTIONS = 200
# A contact takes about 1,000 bytes at most, and a message of gRPC holds 4 MiB.
BATCH_CONTACTS = 3000


class _Caller(NamedTuple):
    """Who waits for an answer."""

    future: asyncio.Future[Answer]
    ends: float
    """When it gives up, on the loop's clock."""
    timeout: float


class Batch:
    """Distinct questions of one call, each with the callers that wait for its answer."""

    def __init__(self) -> None:
        self._callers: dict[Question, list[_Caller]] = {}
        self._contacts = 0
        # When the last of its callers gives up, on the loop's clock.
        self.ends = 0.0

    def add(self, question: Question, caller: _Caller) -> bool:
        """Takes the question in, or returns False when it has no room."""
        callers = self._callers.get(question)
        if callers is None:
            contacts = self._contacts + (question if isinstance(question, int) else 1)
            if len(self._callers) >= BATCH_QUESTIONS or (self._callers and contacts > BATCH_CONTACTS):
                return False
            self._contacts = contacts
            self._callers[question] = callers = []
        callers.append(caller)
        self.ends = max(self.ends, caller.ends)
        return True

    def drop_abandoned(self) -> None:
        """Forgets questions whose callers have all given up."""
        for question, callers in list(self._callers.items()):
            if all(caller.future.done() for caller in callers):
                del self._callers[question]

    def expire(self, now: float, late: Callable[[float], Exception]) -> None:
        """Ends the wait of those whose time is up."""
        for callers in self._callers.values():
            for caller in callers:
                if caller.ends <= now and not caller.future.done():
                    caller.future.set_exception(late(caller.timeout))

    def __len__(self) -> int:
        return len(self._callers)

    def __iter__(self) -> Iterator[Question]:
        return iter(self._callers)

    def answer(self, question: Question, answer: Answer) -> None:
        """Hands the answer to who waits for it."""
        for caller in self._callers[question]:
            if not caller.future.done():
                caller.future.set_result(answer)

    def fail(self, question: Question, error: Exception) -> None:
        """Raises the error at who waits for the answer."""
        for caller in self._callers[question]:
            if not caller.future.done():
                # One for each: an exception remembers where it was raised.
                caller.future.set_exception(copy.copy(error))

    def fail_all(self, error: Exception) -> None:
        """Raises the error at all who still wait."""
        for question in self._callers:
            self.fail(question, error)


class Gatherer:
    """Gathers questions into batches and has them answered by `ask`, one batch at a time, or two.

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
        # When the call under way turns out to be slow, on the loop's clock.
        self._slow_at = 0.0
        # One timer for all: one for each would be most of what a read costs here.
        self._expiring = False

    async def get(self, question: Question, timeout: float) -> Answer:
        """The answer to a question, asked after this was called; `timeout` seconds count from now."""
        if self._waiting >= self._most:
            raise self._full(self._most)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._enqueue(question, _Caller(answer, loop.time() + timeout, timeout))
        if not self._is_scheduled and self._may_send(loop.time()):
            # Not at once: what else is asked in this turn of the loop goes along.
            self._is_scheduled = True
            loop.call_soon(self._send)
        if not self._expiring:
            self._expiring = True
            loop.call_later(EXPIRE_EVERY, self._expire)
        self._waiting += 1
        try:
            return await answer
        finally:
            self._waiting -= 1

    async def close(self, error: Exception) -> None:
        """Ends what is under way; all who wait get the error."""
        while self._unsent:
            self._unsent.popleft().fail_all(error)
        for task, batch in self._in_flight.items():
            batch.fail_all(error)
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _enqueue(self, question: Question, caller: _Caller) -> None:
        if not (self._unsent and self._unsent[-1].add(question, caller)):
            batch = Batch()
            batch.add(question, caller)
            self._unsent.append(batch)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        for batch in (*self._unsent, *self._in_flight.values()):
            batch.expire(loop.time(), self._late)
        self._expiring = self._waiting > 0
        if self._expiring:
            loop.call_later(EXPIRE_EVERY, self._expire)

    def _may_send(self, now: float) -> bool:
        if not self._unsent or len(self._in_flight) >= IN_FLIGHT:
            return False
        is_enough = len(self._unsent) > 1 or len(self._unsent[0]) >= ENOUGH
        return not self._in_flight or is_enough or now >= self._slow_at

    def _send(self) -> None:
        self._is_scheduled = False
        loop = asyncio.get_running_loop()
        while self._may_send(loop.time()):
            batch = self._unsent.popleft()
            batch.drop_abandoned()
            if batch:
                self._slow_at = loop.time() + SLOW
                loop.call_at(self._slow_at, self._send)
                task = loop.create_task(self._carry(batch))
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
