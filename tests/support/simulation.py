"""Time that passes as fast as the work in it: an event loop whose clock jumps when nothing is to be done.

with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
    runner.run(main())  # in it, clock_of(asyncio.get_running_loop()) is for the parts that take a clock
"""

import asyncio
import collections
import queue
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

from cqrs.journal.clock import Clock
from cqrs.transport.in_process_broker import InProcessBroker, InProcessLink

T = TypeVar("T")

# When simulated time begins, in seconds since 1970.
BEGINNING = float(int(time.time()))
# Real seconds that a thread may work on one thing.
PATIENCE = 30.0


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Jumps to its next timer when nothing is ready and no thread works.

    What is given to an executor is done at once, by the thread of the loop: no simulated time passes in it. Django has
    to allow that: `os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]`.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._inboxes: list[_Inbox] = []
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    @property
    def clock(self) -> Clock:
        """The clocks of this loop, for the parts that have threads."""
        return Clock(lambda: BEGINNING + self._now, self.time, lambda _seconds: None, self._inbox)

    def run_in_executor(  # type: ignore[override]
        self, _executor: Executor | None, work: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = self.create_future()
        try:
            answer.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001  # who waits for the answer raises it
            answer.set_exception(error)
        return answer

    def threads_work(self) -> bool:
        return any(inbox.works for inbox in self._inboxes)

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def _inbox(self) -> Any:
        inbox = _Inbox(self)
        self._inboxes.append(inbox)
        return inbox


class _Selector(selectors.BaseSelector):
    """Waits for threads alone; instead of waiting for a timer it has the loop's time pass."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return self._real.select(0)
        # A thread that has ended its work has woken the loop before it says so.
        if self._loop.threads_work():
            events = self._real.select(PATIENCE)
            assert events, f"a thread works for more than {PATIENCE} s"
            return events
        if events := self._real.select(0):
            return events
        assert timeout is not None, "nothing is ever to be done again"
        self._loop.pass_time(timeout)
        return []


class _Inbox:
    """A queue.SimpleQueue that knows whether its one reader works."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._items: collections.deque[Any] = collections.deque()
        self._changed = threading.Condition()
        self.works = True

    def put(self, item: Any) -> None:
        with self._changed:
            self._items.append(item)
            self.works = True
            self._changed.notify()

    def get(self) -> Any:
        with self._changed:
            while not self._items:
                self.works = False
                self._loop.call_soon_threadsafe(lambda: None)
                self._changed.wait()
            return self._items.popleft()

    def get_nowait(self) -> Any:
        with self._changed:
            if not self._items:
                raise queue.Empty
            return self._items.popleft()

    def empty(self) -> bool:
        return not self._items


class FlakyBroker(InProcessBroker):
    """A broker that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.there = asyncio.Event()
        self.there.set()
        self.gone = asyncio.Event()

    async def be_away(self, seconds: float) -> None:
        """Ends all connections, and takes none for so many seconds."""
        self.there.clear()
        self.gone.set()
        await asyncio.sleep(seconds)
        self.gone.clear()
        self.there.set()

    def connect(self, **handlers: Any) -> InProcessLink:
        return _FlakyLink(self, *handlers.values())


class _FlakyLink(InProcessLink):
    async def run(self) -> None:
        broker = self._broker
        assert isinstance(broker, FlakyBroker)
        while True:
            await broker.there.wait()
            tasks = [asyncio.create_task(super().run()), asyncio.create_task(broker.gone.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[0].done():
                    await tasks[0]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
